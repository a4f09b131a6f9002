"""`fuseport fold`: what folding does to a model, rewrite by rewrite, each with its proof; nothing is converted."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from .model_options import FILE, model_options, named, source_of

if TYPE_CHECKING:
    from ...reparam import Folded
    from ..program import Prepared


@click.command("fold")
@click.argument("variant", required=False)
@model_options
@click.option("--output", type=FILE, metavar="FILE.pt2", help="Save the folded model as torch.export.save does.")
@click.option("--json", "as_json", is_flag=True, help="Print as JSON.")
@click.option("--quiet", is_flag=True, help="Print errors only.")
def command(variant: str | None, output: Path | None, as_json: bool, quiet: bool, **options: Any) -> None:
    """Fold a model and list every rewrite: rule, place, operators before and after, float64 error of its proof.

    Also what was refused and why, and what the model costs before and after. Exit code 0: folded and proven; 1: the
    model cannot be captured or folded; 2: wrong usage, as a name, a file or a checkpoint that does not fit.
    """
    from .. import terminal
    from ..folding import fold_source, save
    from ..pipeline import UsageError

    if output is not None and output.suffix != ".pt2":
        raise click.UsageError(f"--output must end in .pt2, got {output}")
    variant = named(variant, options)
    with terminal.progress(show=not quiet and not as_json) as announce:
        try:
            prepared = fold_source(source_of(variant, options), announce=announce)
        except UsageError as error:
            raise click.UsageError(str(error)) from error
    if output is not None:
        save(prepared, output)
    if as_json:
        click.echo(_json(variant, prepared.folded))
    elif not quiet:
        _print(variant, prepared, output)


def _json(variant: str, folded: Folded) -> str:
    told = {
        "variant": variant,
        "error": folded.error,
        "rewrites": [asdict(step) for step in folded.rewrites],
        "refusals": [asdict(place) for place in folded.refusals],
        "before": {**asdict(folded.before), "total_macs": folded.before.total_macs, "nodes": folded.before.nodes},
        "after": {**asdict(folded.after), "total_macs": folded.after.total_macs, "nodes": folded.after.nodes},
    }
    return json.dumps(told, indent=2, ensure_ascii=False, allow_nan=False)


def _print(variant: str, prepared: Prepared, output: Path | None) -> None:
    from rich.markup import escape

    from ..terminal import console, table

    folded, out = prepared.folded, console()
    rows = table("rule", "module", "before", "after", "error", left=("rule", "module", "before", "after"))
    for step in folded.rewrites:
        before, after = (escape(_operators(listed)) for listed in (step.before, step.after))
        rows.add_row(step.rule, escape(step.where), before, after, f"{step.error:.0e}")
    out.print(rows)
    for place in folded.refusals:
        out.print(f"not folded: {place.where} ({place.rule}): {place.reason}", style="yellow", markup=False)
    costs = table("", "before", "after", left=("",))
    before, after = folded.before, folded.after
    for name, old, new in (
        ("nodes", before.nodes, after.nodes),
        ("batch norms", before.batch_norms, after.batch_norms),
        ("parameters", before.parameters, after.parameters),
        ("MACs", before.total_macs, after.total_macs),
        ("bytes of weights", before.parameter_bytes, after.parameter_bytes),
    ):
        costs.add_row(name, f"{old:,}", f"{new:,}")
    out.print(costs)
    whole = f"largest float64 error of the whole model {folded.error:.0e}"
    out.print(f"{variant}: {len(folded.rewrites)} rewrites, {len(folded.refusals)} refused; {whole}")
    if output is not None:
        out.print(f"folded model: {output}")


def _operators(listed: tuple[str, ...]) -> str:
    """The operators alone, as in `conv2d + batch_norm`; their modules and shapes are in the JSON."""
    return " + ".join(operator.partition(" ")[0] for operator in listed) or "nothing"
