"""`export-model`, also `fuseport export`: the main job, from a variant to proven files."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from .model_options import model_options, named, require_positive, source_of
from .report_option import REPORT, remove_stale, write_reports

if TYPE_CHECKING:
    from ..job import Job
    from ..report import ExportReport

FOLDER = click.Path(path_type=Path, file_okay=True)


@click.command("export-model")
@click.option("--variant", metavar="NAME", help="The model; `fuseport list` shows all names.")
@click.option(
    "--format", "formats", multiple=True, metavar="FORMAT", help="onnx or coreml; may be given several times."
)
@model_options
@click.option(
    "--precision",
    type=click.Choice(["float16", "float32", "auto"]),
    default="float16",
    help="Of the Core ML file (float16); ONNX is float32. With auto it is float16, but for the fewest operators that "
    "must stay in float32.",
)
@click.option(
    "--precision-file",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="Keep in float32 what an earlier run with --precision auto found; its NAME.precision.json, or its report.",
)
@click.option("--deployment-target", default="iOS16", metavar="OS", help="Oldest system of the Core ML file (iOS16).")
@click.option("--opset", type=int, metavar="N", help="ONNX opset (20).")
@click.option("--no-simplify", is_flag=True, help="Leave onnxsim out.")
@click.option("--external-data", is_flag=True, help="ONNX weights in a file of their own, also below 2 GB.")
@click.option("--batch-size", type=int, metavar="N", help="Samples per call, fixed in the file (1).")
@click.option(
    "--dynamic-batch",
    is_flag=False,
    flag_value="1:",
    metavar="[FROM:TO]",
    help="Leave the batch open; Core ML needs the range.",
)
@click.option(
    "--image-input",
    is_flag=False,
    flag_value="nhwc",
    metavar="[nhwc|nchw]",
    help="Take pictures of 0..255 and normalise inside; the layout is ONNX's.",
)
@click.option("--labels", metavar="FILE|imagenet-1k", help="Class names, one per line, to store in the file.")
@click.option("--input-name", metavar="NAME", help="Name of the input (image; of your own model: forward's).")
@click.option(
    "--output-name",
    metavar="NAME",
    help="Name of the output (logits; stage1, stage2, … for features); of your own model NAME,NAME for several.",
)
@click.option("--output-dir", type=FOLDER, default=Path(), metavar="DIR", help="Where files go (the current folder).")
@click.option("--name", metavar="NAME", help="Name of the files, without suffix (the variant's).")
@click.option("--images", type=FOLDER, metavar="DIR", help="Check on the pictures of a folder.")
@click.option("--samples", type=int, default=4, metavar="N", help="How many pictures to check on (4).")
@click.option("--atol", type=float, metavar="X", help="Absolute tolerance in place of the measured bound.")
@click.option("--rtol", type=float, metavar="X", help="Relative tolerance in place of the measured bound.")
@click.option("--require-parity", is_flag=True, help="Fail where a file could not be checked.")
@click.option("--benchmark", is_flag=True, help="Time PyTorch and ONNX Runtime, interleaved.")
@REPORT
@click.option("--json", "as_json", is_flag=True, help="Print the report as JSON.")
@click.option("--quiet", is_flag=True, help="Print errors only.")
@click.option("--debug", is_flag=True, help="Show the traceback of an error.")
def command(**options: Any) -> None:
    """Export a PyTorch vision model to ONNX and Core ML, and prove that the saved files compute the same.

    Writes NAME.onnx, NAME.mlpackage and NAME.report.json. Exit code 0: every check that ran passed;
    1: a conversion or a check failed; 2: wrong usage.

    \b
    export-model --variant shvit_s4 --format onnx --format coreml
    export-model --variant swiftformer_l1 --checkpoint l1.pth --format coreml --image-input --labels imagenet-1k
    export-model --model net.py:build --input-shape 1,3,224,224 --checkpoint net.pth --format onnx
    """
    from .. import terminal
    from ..pipeline import UsageError, export
    from ..report import report_json

    show = not options["quiet"] and not options["as_json"]
    job = _job(options)
    with terminal.progress(show=show) as announce:
        try:
            report = export(job, announce=announce)
        except UsageError as error:
            raise click.UsageError(str(error)) from error
    _print(report, options)
    remove_stale(options["targets"], report.folder, job.stem)
    write_reports(json.loads(report_json(report)), options["targets"], report.folder, job.stem)
    sys.exit(1 if report.outcome == "failed" else 0)


def _print(report: ExportReport, options: dict[str, Any]) -> None:
    from .. import terminal
    from ..report import report_json

    if options["as_json"]:
        click.echo(report_json(report), nl=False)
    elif not options["quiet"]:
        terminal.summary(report)
    if report.outcome == "failed":
        click.echo(f"error: {report.reason}; the files are in {report.folder}", err=True)


def _job(options: dict[str, Any]) -> Job:
    """The options as a job; click.UsageError for those that say nothing."""
    from ..job import Checks, Job
    from ..request import Request

    if options["image_input"] not in (None, "nhwc", "nchw"):
        raise click.UsageError(f"--image-input is nhwc or nchw, got {options['image_input']!r}")
    require_positive(options, "samples", "batch_size")
    if options["precision_file"] is not None and options["precision"] != "float16":
        raise click.UsageError(f"--precision-file is for float16 files; leave --precision {options['precision']} out")
    request = Request(
        precision="float32" if options["precision"] == "float32" else "float16",
        opset=options["opset"],
        deployment_target=options["deployment_target"],
        batch=_batch_range(options["dynamic_batch"]),
        simplify=not options["no_simplify"],
        external_data=options["external_data"],
    )
    checks = Checks(
        samples=options["samples"],
        images=options["images"],
        atol=options["atol"],
        rtol=options["rtol"],
        require_parity=options["require_parity"],
        benchmark=options["benchmark"],
        seed=options["seed"],
    )
    return Job(
        source=source_of(named(options["variant"], options), options),
        formats=tuple(dict.fromkeys(map(_format, options["formats"]))),
        request=request,
        checks=checks,
        find_precision=options["precision"] == "auto",
        precision_file=options["precision_file"],
        image_input=options["image_input"],
        labels=options["labels"],
        batch_size=options["batch_size"],
        output_dir=options["output_dir"],
        name=options["name"],
        input_name=options["input_name"],
        output_name=options["output_name"],
    )


def _format(name: str) -> str:
    from .. import FORMATS

    if name not in FORMATS:
        raise click.UsageError(f"unknown format {name!r}; known: {', '.join(FORMATS)}")
    return name


def _batch_range(text: str | None) -> Any:
    """`FROM:TO` as a BatchRange; `FROM:` has no upper bound."""
    from ..request import BatchRange

    if text is None:
        return None
    first, colon, last = text.partition(":")
    try:
        found = BatchRange(int(first), int(last) if last else None)
    except ValueError:
        found = BatchRange(0)
    if not colon or found.lower < 1 or (found.upper is not None and found.upper <= found.lower):
        raise click.UsageError(f"--dynamic-batch takes FROM:TO with 1 <= FROM < TO, as in 1:8; got {text!r}")
    return found
