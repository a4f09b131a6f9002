"""`fuseport check`: hold saved files against the model that they should be, again and again, in CI above all."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import click

from .model_options import FILE, model_options, require_positive, source_of

if TYPE_CHECKING:
    from ..recheck import Asked, CheckReport

RANGES = ("normalised", "0..1", "0..255")


@click.command("check")
@click.argument("artifacts", nargs=-1, required=True, type=FILE, metavar="ARTIFACT...")
@click.option(
    "--against",
    metavar="VARIANT|CHECKPOINT|REPORT",
    help="What the files should be; by default NAME.report.json beside each.",
)
@click.option("--variant", metavar="NAME", help="The model, where --against is a checkpoint.")
@model_options
@click.option("--images", type=FILE, metavar="DIR", help="Check on the pictures of a folder.")
@click.option("--inputs", type=FILE, metavar="FILE.npz", help="Check on these inputs, and on outputs stored with them.")
@click.option("--samples", type=int, default=4, metavar="N", help="How many pictures to check on (4).")
@click.option(
    "--input-map", "input_map", multiple=True, metavar="FILE=MODEL", help="An input of the file is the model's."
)
@click.option("--output-map", "output_map", multiple=True, metavar="FILE=MODEL", help="The same for an output.")
@click.option(
    "--input-range",
    type=click.Choice(RANGES),
    default="normalised",
    help="What a float picture input takes, if the file normalises by itself.",
)
@click.option("--atol", type=float, metavar="X", help="Absolute tolerance in place of the measured bound.")
@click.option("--rtol", type=float, metavar="X", help="Relative tolerance in place of the measured bound.")
@click.option("--json", "as_json", is_flag=True, help="Print the results as JSON.")
@click.option("--quiet", is_flag=True, help="Print errors only.")
@click.option("--debug", is_flag=True, help="Show the traceback of an error.")
def command(**options: Any) -> None:
    """Check saved .onnx and .mlpackage files, of any tool, against the model that they should be.

    Exit code 0: every file was checked and passed; 1: one failed, drifted, or could not be judged; 2: wrong usage.

    \b
    fuseport check shvit_s4.onnx shvit_s4.mlpackage
    fuseport check theirs.mlpackage --against shvit_s4 --checkpoint shvit_s4.pth --output-map var_812=logits
    """
    from .. import terminal
    from ..artifact import NotConverted
    from ..recheck import recheck

    show = not options["quiet"] and not options["as_json"]
    asked = _asked(options)
    with terminal.progress(show=show) as announce:
        try:
            report = recheck(asked, announce=announce)
        except NotConverted:
            raise
        except ValueError as error:
            raise click.UsageError(str(error)) from error
    _print(report, options)
    sys.exit(0 if report.outcome == "passed" else 1)


def _asked(options: dict[str, Any]) -> Asked:
    """The options as values; click.UsageError for those that say nothing."""
    from ..job import Checks
    from ..recheck import Asked

    require_positive(options, "samples")
    if options["images"] and options["inputs"]:
        raise click.UsageError("--images and --inputs both name inputs; give one of them")
    return Asked(
        artifacts=tuple(dict.fromkeys(options["artifacts"])),
        against=options["against"],
        source=source_of(options["variant"] or "", options),
        checks=Checks(
            samples=options["samples"],
            images=options["images"],
            atol=options["atol"],
            rtol=options["rtol"],
            seed=options["seed"],
        ),
        inputs=options["inputs"],
        input_map=_map(options["input_map"], "--input-map"),
        output_map=_map(options["output_map"], "--output-map"),
        input_range=options["input_range"],
    )


def _map(texts: Sequence[str], option: str) -> dict[str, str]:
    """FILE=MODEL pairs, no name twice."""
    pairs = [text.rpartition("=") for text in texts]
    if bad := next((text for text, (file, _, ours) in zip(texts, pairs, strict=True) if not (file and ours)), None):
        raise click.UsageError(f"{option} takes FILE_NAME=MODEL_NAME, got {bad!r}")
    if len({file for file, _, _ in pairs}) < len(pairs) or len({ours for _, _, ours in pairs}) < len(pairs):
        raise click.UsageError(f"{option} names a tensor twice: {', '.join(texts)}")
    return {file: ours for file, _, ours in pairs}


def _print(report: CheckReport, options: dict[str, Any]) -> None:
    from .. import terminal
    from ..report import as_json

    if options["as_json"]:
        click.echo(as_json(report), nl=False)
    elif not options["quiet"]:
        terminal.check_summary(report)
    if report.outcome != "passed":
        click.echo(f"error: {report.reason}", err=True)
