"""The options that choose a model and its weights, the same for every command that takes one."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

if TYPE_CHECKING:
    from ...models.inputs import Given
    from ..job import Source

Function = TypeVar("Function", bound=Callable[..., Any])

FILE = click.Path(path_type=Path)

OWN = (
    click.option("--model", metavar="FILE.py:NAME", help="Your own model: a class, a function that makes it, or it."),
    click.option(
        "--input-shape",
        "input_shapes",
        multiple=True,
        metavar="[NAME=]SHAPE[:DTYPE[:LIMIT]]",
        help="What your model takes, batch first, as in 1,3,224,224 or ids=1,16:int64:30522; once for each input.",
    ),
    click.option(
        "--model-arg", "model_args", multiple=True, metavar="KEY=VALUE", help="An option of the model itself."
    ),
)
"""What tells a user's own model."""

OPTIONS = (
    *OWN,
    click.option("--own-weights", is_flag=True, help="Keep the weights that your own model's code gives it."),
    click.option("--mean", metavar="R,G,B", help="Of your own model's pictures, in 0..1 (ImageNet's)."),
    click.option("--std", metavar="R,G,B", help="Of your own model's pictures, in 0..1 (ImageNet's)."),
    click.option("--checkpoint", type=FILE, metavar="FILE", help="Weights: .pth, .pt or .safetensors."),
    click.option("--checkpoint-key", metavar="KEY", help="Where in the checkpoint the state dict is; else searched."),
    click.option(
        "--pretrained",
        is_flag=False,
        flag_value="any",
        metavar="[official|timm]",
        help="Download the published weights.",
    ),
    click.option("--num-classes", type=int, metavar="N", help="Size of the head; by default the checkpoint's or 1000."),
    click.option("--in-chans", type=int, default=3, metavar="N", help="Input channels (3)."),
    click.option("--image-size", type=int, metavar="PX", help="Input height and width; by default the variant's."),
    click.option("--seed", type=int, default=0, metavar="N", help="Seed of conditioned weights and check inputs (0)."),
)
"""Everything but the name of the variant, which is an option of some commands and an argument of others."""


def model_options(function: Function) -> Function:
    """Put `OPTIONS` on a command, in their order."""
    return _with(OPTIONS, function)


def own_options(function: Function) -> Function:
    """Put `OWN` on a command that needs no weights."""
    return _with(OWN, function)


def _with(options: Sequence[Callable[[Function], Function]], function: Function) -> Function:
    for option in reversed(options):
        function = option(function)
    return function


def source_of(variant: str, options: dict[str, Any]) -> Source:
    """The options as a Source; click.UsageError for those that contradict each other or say nothing."""
    from ..job import Source

    inputs = input_shapes(options)

    if options["pretrained"] and options["checkpoint"]:
        raise click.UsageError("--checkpoint and --pretrained both name weights; give one of them")
    require_positive(options, "in_chans", "image_size")
    return Source(
        variant=variant,
        checkpoint=options["checkpoint"],
        checkpoint_key=options["checkpoint_key"],
        pretrained=options["pretrained"],
        num_classes=options["num_classes"],
        in_chans=options["in_chans"],
        model_args=dict(map(model_arg, options["model_args"])),
        image_size=options["image_size"],
        inputs=inputs,
        own_weights=options["own_weights"],
        mean=_numbers("mean", options["mean"]),
        std=_numbers("std", options["std"]),
        seed=options["seed"],
    )


def input_shapes(options: dict[str, Any]) -> tuple[Given, ...]:
    """What the options say of the inputs; click.UsageError for what is no shape."""
    from ...models.inputs import InputError, parse

    try:
        return tuple(map(parse, options["input_shapes"]))
    except InputError as error:
        raise click.UsageError(str(error)) from error


def _numbers(option: str, text: str | None) -> tuple[float, ...] | None:
    if text is None:
        return None
    try:
        return tuple(map(float, text.split(",")))
    except ValueError as error:
        raise click.UsageError(f"--{option} takes three numbers, as in 0.5,0.5,0.5; got {text!r}") from error


def named(variant: str | None, options: dict[str, Any]) -> str:
    """The model that a command is about, a variant or the user's own; click.UsageError for both or none."""
    model = options["model"]
    if model is None and variant is None:
        raise click.UsageError("no model: give a name of `fuseport list`, or your own with --model FILE.py:NAME")
    if model is None:
        return str(variant)
    if variant is not None:
        raise click.UsageError(f"{variant} and --model {model} both name a model; give one of them")
    return own(model)


def own(model: str) -> str:
    """What `--model` says; click.UsageError for what is no place in a file."""
    if ".py" not in model:
        raise click.UsageError(f"--model takes FILE.py:NAME, as in net.py:build; got {model!r}")
    return model


def require_positive(options: dict[str, Any], *names: str) -> None:
    """click.UsageError for the first of these options that is below 1."""
    for name in names:
        if options[name] is not None and options[name] < 1:
            raise click.UsageError(f"--{name.replace('_', '-')} must be at least 1, got {options[name]}")


def model_arg(text: str) -> tuple[str, Any]:
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
