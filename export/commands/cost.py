"""`fuseport cost`: count what models and files cost, before anything is run."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from .model_options import model_options, own, source_of

if TYPE_CHECKING:
    from rich.table import Table

    from ...validate.roofline import Roofline
    from ..cost import CostReport, Total


@click.command()
@click.argument("subjects", nargs=-1, metavar="VARIANT|FILE…")
@model_options
@click.option("--per-layer", is_flag=True, help="Also a row for each module.")
@click.option("--depth", type=click.IntRange(1), metavar="N", help="Cut module paths to N components.")
@click.option("--roofline", is_flag=True, help="Measure this machine; also the least time that each takes on it.")
@click.option("--threads", type=click.IntRange(1), default=1, metavar="N", help="Threads of the roofline (1).")
@click.option("--json", "as_json", is_flag=True, help="Print JSON, operator by operator.")
def command(
    subjects: tuple[str, ...],
    per_layer: bool,
    depth: int | None,
    roofline: bool,
    threads: int,
    as_json: bool,
    **options: Any,
) -> None:
    """Parameters, MACs, bytes and arithmetic intensity of models and saved files, for one picture.

    Models are named as in `fuseport list`, with options of their own behind a colon; files end in .onnx or
    .mlpackage. Counted, not measured: no weights are loaded. `fuseport profile --roofline` measures how far
    each is from the least time.

    \b
    fuseport cost shvit_s4 shvit_s4.onnx shvit_s4.mlpackage
    fuseport cost vit_l16_in1k tome_vit_l16_in1k:r=20 --per-layer
    """
    from ...reparam import CaptureError
    from ..cost import cost, cost_json
    from ..given import given

    if options["model"]:
        subjects = (own(options["model"]), *subjects)
    if not subjects:
        raise click.UsageError("nothing to count: give variants, files, or your own model with --model FILE.py:NAME")
    try:
        reports = [cost(given(text, source_of(text, options))) for text in subjects]
    except CaptureError:
        raise
    except ValueError as error:
        raise click.UsageError(str(error)) from error
    best = _measured(threads) if roofline else None
    if as_json:
        click.echo(cost_json(reports, best), nl=False)
    else:
        _print(reports, best, depth=depth, per_layer=per_layer or depth is not None)


def _measured(threads: int) -> Roofline:
    from ..profile.rooflines import roofline

    return roofline(threads)


def _print(reports: list[CostReport], best: Roofline | None, *, depth: int | None, per_layer: bool) -> None:
    from ..terminal import console

    out = console()
    out.print(_totals(reports))
    if best is not None:
        out.print(_least(reports, best))
    for report in reports:
        if report.not_counted:
            out.print(f"✗ {report.subject}: the MACs leave out {', '.join(report.not_counted)}", markup=False)
        if report.seed is not None and report.seed.statement:
            out.print(f"{report.subject}: the seed's GFLOPs: {report.seed.statement}", markup=False)
        if per_layer:
            out.print(report.subject, style="bold", markup=False)
            out.print(_modules(report, depth))
            if report.seed is not None:
                out.print(_seed_layers(report))


FIGURES = ("parameters", "MACs", "weights MB", "activations MB", "FLOP/byte")


def _totals(reports: list[CostReport]) -> Table:
    from ..terminal import table

    seeded = any(report.seed for report in reports)
    rows = table("subject", *FIGURES, *(["seed's GFLOPs"] if seeded else []), left=("subject",))
    for report in reports:
        seed = [f"{report.seed.gflops:.3f}" if report.seed else "–"] if seeded else []
        rows.add_row(report.subject, *_figures(report.total), *seed)
    return rows


def _least(reports: list[CostReport], best: Roofline) -> Table:
    from ..cost import least_time
    from ..terminal import table

    told = (
        f"{best.flops_per_s / 1e9:,.1f} GFLOP/s, {best.bytes_per_s / 1e9:,.1f} GB/s, ridge {best.ridge:.1f} FLOP/byte"
    )
    title = f"this machine, {best.threads} thread{'s' * (best.threads > 1)}: {told}"
    rows = table(title, "least ms", "limit", left=(title, "limit"))
    for report in reports:
        bound = least_time(report.total, best)
        rows.add_row(report.subject, f"{bound.bound_ms:.2f}", bound.limit)
    return rows


def _modules(report: CostReport, depth: int | None) -> Table:
    from ..cost import by_module
    from ..terminal import table

    rows = table("module", *FIGURES, "operators", left=("module",))
    for path, total in by_module(report.layers, depth).items():
        rows.add_row(path or "(itself)", *_figures(total), str(total.operators))
    return rows


def _seed_layers(report: CostReport) -> Table:
    from ..terminal import table

    rows = table("layer", "tokens in", "through attention", "out", "seed's GFLOPs", left=())
    assert report.seed is not None
    for layer in report.seed.layers:
        tokens = (layer.tokens_in, layer.tokens_through, layer.tokens_out)
        rows.add_row(str(layer.index), *map(str, tokens), f"{layer.gflops:.3f}")
    rows.add_row("outside", "", "", "", f"{report.seed.outside_layers_gflops:.3f}")
    return rows


def _figures(total: Total) -> tuple[str, ...]:
    megabytes = (f"{size / 1e6:,.2f}" for size in (total.weight_bytes, total.activation_bytes))
    return (f"{total.parameters:,}", f"{total.macs:,}", *megabytes, f"{total.intensity:.1f}")
