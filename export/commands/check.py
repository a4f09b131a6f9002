"""`fuseport check`: hold saved files against the model that they should be, again and again, in CI above all."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from ..recheck.baseline import NAME, Accepted
from .github_summary import append_summary, github_summary
from .model_options import FILE, model_options, named, require_positive, source_of
from .report_option import REPORT, write_reports

if TYPE_CHECKING:
    from ..recheck.recheck import CheckReport
    from ..recheck.targets import Asked


RANGES = ("normalised", "0..1", "0..255")


@click.command("check")
@click.argument("artifacts", nargs=-1, type=FILE, metavar="[ARTIFACT...]")
@click.option(
    "--against",
    metavar="VARIANT|FILE.py:NAME|CHECKPOINT|REPORT",
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
@click.option("--baseline", type=FILE, metavar="FILE", help="Fail too if a file is not as FILE accepts it.")
@click.option("--update-baseline", is_flag=True, help=f"Accept the files as they are ({NAME}, or --baseline).")
@click.option("--reason", metavar="TEXT", help="Why --atol and --rtol are right; with --update-baseline.")
@REPORT
@click.option("--summary", is_flag=True, help="Add the report to the summary of the job on GitHub Actions.")
@click.option("--json", "as_json", is_flag=True, help="Print the results as JSON.")
@click.option("--quiet", is_flag=True, help="Print errors only.")
@click.option("--debug", is_flag=True, help="Show the traceback of an error.")
def command(**options: Any) -> None:
    """Check saved .onnx and .mlpackage files, of any tool, against the model that they should be.

    Exit code 0: every file was checked and passed; 1: one failed, drifted, or could not be judged; 2: wrong usage.

    \b
    fuseport check shvit_s4.onnx shvit_s4.mlpackage
    fuseport check theirs.mlpackage --against shvit_s4 --checkpoint shvit_s4.pth --output-map var_812=logits
    fuseport check build/*.onnx --update-baseline
    fuseport check --baseline fuseport.baseline.json --report junit=parity.xml --summary
    """
    from .. import terminal
    from ..report import as_json

    summary = github_summary() if options["summary"] else None
    show = not options["quiet"] and not options["as_json"]
    with terminal.progress(show=show) as announce:
        report = _checked(options, announce)
    _print(report, options)
    record = json.loads(as_json(report))
    write_reports(record, options["targets"], Path(), "check")
    if summary is not None:
        append_summary(record, summary)
    sys.exit(0 if report.outcome == "passed" else 1)


def _checked(options: dict[str, Any], announce: Callable[[str], None]) -> CheckReport:
    """The check, with or without a baseline; what cannot be used is wrong usage."""
    from ...reparam.not_captured import UnrepeatableError
    from ..artifact import NotConverted
    from ..recheck.recheck import recheck
    from ..recheck.watch import watch

    baseline, accepted = _baseline(options)
    asked = _asked(options)
    try:
        if baseline is None:
            return recheck(asked, announce=announce)
        update = options["update_baseline"]
        return watch(asked, baseline, update=update, tolerance=accepted, announce=announce)
    except (NotConverted, UnrepeatableError):
        raise
    except ValueError as error:
        raise click.UsageError(str(error)) from error


def _baseline(options: dict[str, Any]) -> tuple[Path | None, Accepted | None]:
    """The baseline's path, and the tolerance to accept; click.UsageError for options that do not go together."""
    path = options["baseline"] or (Path(NAME) if options["update_baseline"] else None)
    reason = (options["reason"] or "").strip()
    own = options["atol"] is not None or options["rtol"] is not None
    if reason and not (own and options["update_baseline"]):
        raise click.UsageError("--reason says why --atol or --rtol is right; give it with one, and --update-baseline")
    if not options["artifacts"] and path is None:
        raise click.UsageError("nothing to check: name .onnx or .mlpackage files, or --baseline FILE that names them")
    if options["update_baseline"] and path is not None and not path.absolute().parent.is_dir():
        raise click.UsageError(f"--baseline {path} is in a folder that does not exist; make it, or choose another")
    if path is None or not own:
        return path, None
    if not options["update_baseline"]:
        raise click.UsageError("a baseline holds its own tolerances; change them with --update-baseline --reason TEXT")
    if not reason:
        raise click.UsageError("to accept --atol or --rtol, say why with --reason TEXT; the baseline keeps it")
    return path, Accepted(options["atol"] or 0.0, options["rtol"] or 0.0, reason)


def _asked(options: dict[str, Any]) -> Asked:
    """The options as values; click.UsageError for those that say nothing."""
    from ..job import Checks
    from ..recheck.targets import Asked

    require_positive(options, "samples")
    if options["images"] and options["inputs"]:
        raise click.UsageError("--images and --inputs both name inputs; give one of them")
    return Asked(
        artifacts=tuple(dict.fromkeys(options["artifacts"])),
        against=options["against"],
        source=source_of(_name(options), options),
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


def _name(options: dict[str, Any]) -> str:
    """The model that the options name; "" where none does."""
    return named(options["variant"], options) if options["variant"] or options["model"] else ""


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
