"""The commands: `export-model`, and the group `fuseport` around it. This file alone prints and exits.

Exit codes: 0 every check that ran passed, 1 a conversion or a check failed, 2 wrong usage. What a run has to say to
people goes to the terminal through `terminal.py`; results for machines (`--json`) go to stdout, progress to stderr.

torch is not loaded here, so that `--help` answers at once: everything heavy is imported by the command that needs it.
"""

from __future__ import annotations

import contextlib
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from .job import Job
    from .report import ExportReport

CONTEXT = {"help_option_names": ["-h", "--help"], "max_content_width": 100}
FOLDER = click.Path(path_type=Path, file_okay=True)
FILE = click.Path(path_type=Path)


@click.command("export-model", context_settings=CONTEXT)
@click.option("--variant", required=True, metavar="NAME", help="The model; `fuseport list` shows all names.")
@click.option(
    "--format", "formats", multiple=True, metavar="FORMAT", help="onnx or coreml; may be given several times."
)
@click.option("--checkpoint", type=FILE, metavar="FILE", help="Weights: .pth, .pt or .safetensors.")
@click.option("--checkpoint-key", metavar="KEY", help="Where in the checkpoint the state dict is; else it is searched.")
@click.option(
    "--pretrained",
    is_flag=False,
    flag_value="any",
    metavar="[official|timm]",
    help="Download the published weights.",
)
@click.option("--num-classes", type=int, metavar="N", help="Size of the head; by default the checkpoint's, else 1000.")
@click.option("--in-chans", type=int, default=3, metavar="N", help="Input channels (3).")
@click.option("--model-arg", "model_args", multiple=True, metavar="KEY=VALUE", help="An option of the model itself.")
@click.option("--image-size", type=int, metavar="PX", help="Input height and width; by default the variant's.")
@click.option("--seed", type=int, default=0, metavar="N", help="Seed of conditioned weights and check pictures (0).")
@click.option(
    "--precision",
    type=click.Choice(["float16", "float32"]),
    default="float16",
    help="Of the Core ML file (float16); ONNX is float32.",
)
@click.option("--deployment-target", default="iOS16", metavar="OS", help="Oldest system of the Core ML file (iOS16).")
@click.option("--opset", type=int, metavar="N", help="ONNX opset (20).")
@click.option("--no-simplify", is_flag=True, help="Leave onnxsim out.")
@click.option("--external-data", is_flag=True, help="ONNX weights in a file of their own, also below 2 GB.")
@click.option("--batch-size", type=int, default=1, metavar="N", help="Pictures per call, fixed in the file (1).")
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
@click.option("--input-name", default="image", metavar="NAME", help="Name of the input (image).")
@click.option("--output-name", metavar="NAME", help="Name of the output (logits; stage1, stage2, … for features).")
@click.option("--output-dir", type=FOLDER, default=Path(), metavar="DIR", help="Where files go (the current folder).")
@click.option("--name", metavar="NAME", help="Name of the files, without suffix (the variant's).")
@click.option("--images", type=FOLDER, metavar="DIR", help="Check on the pictures of a folder.")
@click.option("--samples", type=int, default=4, metavar="N", help="How many pictures to check on (4).")
@click.option("--atol", type=float, metavar="X", help="Absolute tolerance in place of the measured bound.")
@click.option("--rtol", type=float, metavar="X", help="Relative tolerance in place of the measured bound.")
@click.option("--require-parity", is_flag=True, help="Fail where a file could not be checked.")
@click.option("--benchmark", is_flag=True, help="Time PyTorch and ONNX Runtime, interleaved.")
@click.option("--json", "as_json", is_flag=True, help="Print the report as JSON.")
@click.option("--quiet", is_flag=True, help="Print errors only.")
@click.option("--debug", is_flag=True, help="Show the traceback of an error.")
def export_command(**options: Any) -> None:
    """Export a PyTorch vision model to ONNX and Core ML, and prove that the saved files compute the same.

    Writes NAME.onnx, NAME.mlpackage and NAME.report.json. Exit code 0: every check that ran passed;
    1: a conversion or a check failed; 2: wrong usage.

    \b
    export-model --variant shvit_s4 --format onnx --format coreml
    export-model --variant swiftformer_l1 --checkpoint l1.pth --format coreml --image-input --labels imagenet-1k
    """
    from . import terminal
    from .pipeline import UsageError, export

    show = not options["quiet"] and not options["as_json"]
    with terminal.progress(show=show) as announce:
        try:
            report = export(_job(options), announce=announce)
        except UsageError as error:
            raise click.UsageError(str(error)) from error
    _print(report, options)
    sys.exit(1 if report.outcome == "failed" else 0)


def _print(report: ExportReport, options: dict[str, Any]) -> None:
    from . import terminal
    from .report import report_json

    if options["as_json"]:
        click.echo(report_json(report), nl=False)
    elif not options["quiet"]:
        terminal.summary(report)
    if report.outcome == "failed":
        click.echo(f"error: {report.reason}; the files are in {report.folder}", err=True)


def _job(options: dict[str, Any]) -> Job:
    """The options as a job; click.UsageError for those that say nothing."""
    from .job import Checks, Job, Source
    from .request import Request

    pretrained = options["pretrained"]
    if pretrained and options["checkpoint"]:
        raise click.UsageError("--checkpoint and --pretrained both name weights; give one of them")
    if options["image_input"] not in (None, "nhwc", "nchw"):
        raise click.UsageError(f"--image-input is nhwc or nchw, got {options['image_input']!r}")
    for count in ("samples", "batch_size", "in_chans", "image_size"):
        if options[count] is not None and options[count] < 1:
            raise click.UsageError(f"--{count.replace('_', '-')} must be at least 1, got {options[count]}")
    source = Source(
        variant=options["variant"],
        checkpoint=options["checkpoint"],
        checkpoint_key=options["checkpoint_key"],
        pretrained=pretrained,
        num_classes=options["num_classes"],
        in_chans=options["in_chans"],
        model_args=dict(map(_model_arg, options["model_args"])),
        image_size=options["image_size"],
        seed=options["seed"],
    )
    request = Request(
        precision=options["precision"],
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
        source=source,
        formats=tuple(dict.fromkeys(map(_format, options["formats"]))),
        request=request,
        checks=checks,
        image_input=options["image_input"],
        labels=options["labels"],
        batch_size=options["batch_size"],
        output_dir=options["output_dir"],
        name=options["name"],
        input_name=options["input_name"],
        output_name=options["output_name"],
    )


def _format(name: str) -> str:
    from . import FORMATS

    if name not in FORMATS:
        raise click.UsageError(f"unknown format {name!r}; known: {', '.join(FORMATS)}")
    return name


def _model_arg(text: str) -> tuple[str, Any]:
    """KEY=VALUE with the value as Python would read it: a switch, a number, or else text."""
    key, equals, value = text.partition("=")
    if not (key and equals):
        raise click.UsageError(f"--model-arg takes KEY=VALUE, got {text!r}")
    if value.lower() in ("true", "false"):
        return key, value.lower() == "true"
    for number in (int, float):
        with contextlib.suppress(ValueError):
            return key, number(value)
    return key, value


def _batch_range(text: str | None) -> Any:
    """`FROM:TO` as a BatchRange; `FROM:` has no upper bound."""
    from .request import BatchRange

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


class _Lazy(click.Group):
    """A group that loads a subcommand's file when it is called."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return sorted([*super().list_commands(ctx), "xcode"])

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name == "xcode":
            from .xcode_cli import xcode

            return xcode
        return super().get_command(ctx, cmd_name)


@click.group("fuseport", cls=_Lazy, context_settings=CONTEXT)
@click.version_option(package_name="fuseport")
def group() -> None:
    """Fuse a PyTorch vision model, port it to a phone, and prove what was ported."""


group.add_command(export_command, "export")


@group.command("list", context_settings=CONTEXT)
@click.option("--json", "as_json", is_flag=True, help="Print as JSON.")
def list_command(as_json: bool) -> None:
    """All variants, with measured parameters and MACs beside the published ones."""
    from . import catalogue

    catalogue.print_list(as_json=as_json)


@group.command("show", context_settings=CONTEXT)
@click.argument("variant")
@click.option("--json", "as_json", is_flag=True, help="Print as JSON.")
def show_command(variant: str, as_json: bool) -> None:
    """One variant: input, preprocessing, options, costs, published claims (wrong ones are marked), weights."""
    from .. import models
    from . import catalogue

    try:
        catalogue.print_variant(models.find(variant), as_json=as_json)
    except models.UnknownVariantError as error:
        raise click.UsageError(str(error)) from error


@group.command("convert", context_settings=CONTEXT)
@click.argument("source", type=FILE)
@click.argument("target", type=FILE)
def convert_command(source: Path, target: Path) -> None:
    """Convert a saved Core ML package (SOURCE.mlpackage) to ONNX (TARGET.onnx), in float32."""
    from .. import mil
    from .atomic import staging

    if target.suffix != ".onnx":
        raise click.UsageError(f"TARGET must end in .onnx, got {target}")
    model = mil.load(source)
    with staging(target) as (path,):
        mil.save_onnx(model, path)
    click.echo(f"{source.name} → {target} ({len(model.function.block.operations)} operations)")


def export_model() -> None:
    """Entry point of `export-model`."""
    _run(export_command)


def main() -> None:
    """Entry point of `fuseport`."""
    _run(group)


def _run(command: click.Command) -> None:
    """Run a command; every error becomes one line on stderr and an exit code."""
    try:
        sys.exit(command.main(standalone_mode=False) or 0)
    except click.UsageError as error:
        _fail(error.format_message(), 2)
    except click.ClickException as error:
        _fail(error.format_message(), 1)
    except (KeyboardInterrupt, click.Abort):
        _fail("interrupted; nothing was written", 1)
    except Exception as error:
        if "--debug" in sys.argv:
            raise
        _fail(_one_line(error), 1)


def _one_line(error: Exception) -> str:
    """The first line of a message of ours; for an error that nobody expected, its type as well."""
    from .artifact import NotConverted

    text = next((line.strip() for line in str(error).splitlines() if line.strip()), "")
    ours = isinstance(error, NotConverted) or type(error).__module__.startswith("fuseport.")
    return text if ours and text else f"{type(error).__name__}: {text}; --debug shows where"


def _fail(message: str, code: int) -> None:
    click.echo(f"error: {message}", err=True)
    sys.exit(code)
