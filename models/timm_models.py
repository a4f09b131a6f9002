"""Every architecture of timm as a variant of its own, `timm/NAME` or `timm/NAME.TAG`, read off timm's registry.

What timm knows of a model's pictures (size, crop, interpolation, mean and std), of its head and of its published
weights comes from its `pretrained_cfg`; the tag chooses among several trainings of one architecture. Nothing is loaded
through timm itself: files are downloaded and read by the same code as all others, so no pickle is run.

The module is a "family" in the sense of `FAMILIES`, but for its table: that has over a thousand rows and is timm's own.
"""

from __future__ import annotations

import difflib
import math
import sys
from collections.abc import Callable, Iterable, Mapping
from functools import partial
from typing import Any

from torch import Tensor, nn

from . import TIMM_PREFIX
from .tokens import METHODS
from .tokens.options import switch
from .variant import Download, Preprocessing, Variant

MODEL_ARGS = {
    "image_size": "side of the pictures, where the network itself depends on it (default: that of the weights)",
    "global_pool": "how positions become one vector: avg, max, token, … as the architecture has it",
    "features_only": "give the maps of all stages (default: false)",
    "method": "token reduction for a plain ViT: hourglass, evit, tome, act, ats, evo, smyrf, each with its own options "
    "beside it, such as r=8 (`fuseport show tome_vit_l16_in1k` lists them)",
}
"""The options that most architectures share; any other keyword of the architecture is passed on as well."""


METHOD_ARGS = {"choices", *(option for method in METHODS for option in method.OPTIONS)}
"""What goes to the method and not to timm."""


class UnknownArchitectureError(ValueError):
    """A name that timm does not know; the message has those that come close."""


def variant(name: str) -> Variant:
    """The variant `timm/NAME` or `timm/NAME.TAG`. Raises UnknownArchitectureError."""
    from timm.models import get_pretrained_cfg, is_model

    architecture, _, tag = name.removeprefix(TIMM_PREFIX).partition(".")
    if not is_model(architecture):
        raise UnknownArchitectureError(_unknown(architecture))
    known = _tags(architecture)
    if tag and tag not in known:
        there = ", ".join(known) or "none, so leave the tag out"
        raise UnknownArchitectureError(f"timm's {architecture} has no weights tagged {tag!r}; tags: {there}")
    told = get_pretrained_cfg(f"{architecture}.{tag}" if tag else architecture)
    return Variant(
        name=name,
        family=_module(architecture),
        build=partial(build, architecture),
        preprocessing=_preprocessing(told),
        parameters=None,
        macs=None,
        timm=architecture,
        downloads=_downloads(told),
        paper=_paper(told),
        model_args=MODEL_ARGS,
        num_classes=told.num_classes if told else 1000,
    )


def build(
    architecture: str, *, num_classes: int = 1000, in_chans: int = 3, image_size: int | None = None, **model_args: Any
) -> nn.Module:
    """timm's module, freshly initialised. Raises ValueError, in one line, for options that it does not take.

    `image_size` goes to the architectures that are built for one size; the others take any as they are. With `method` a
    plain ViT's tokens are reduced on the way, by a method of `tokens/` with its options.
    """
    method = str(model_args.pop("method", "none"))
    if method != "none":
        own = {key: model_args.pop(key) for key in list(model_args) if key in METHOD_ARGS}
        vit = build(architecture, num_classes=num_classes, in_chans=in_chans, image_size=image_size, **model_args)
        return _reduced(architecture, vit, method, own)
    given = {"in_chans": in_chans, **model_args}
    if not model_args.get("features_only"):
        given["num_classes"] = num_classes
    if image_size is not None:
        given["img_size"] = image_size
    try:
        return _created(architecture, given)
    except Exception as error:  # hundreds of authors' own ways to refuse an argument
        reason = (str(error) or type(error).__name__).splitlines()[0]
        told = ", ".join(f"{key}={value}" for key, value in given.items())
        raise ValueError(f"timm cannot build {architecture} with {told}: {reason}") from error


def _reduced(architecture: str, vit: nn.Module, method: str, options: dict[str, Any]) -> nn.Module:
    """`vit` with the method. Raises ValueError, in one line, where the model or an option does not allow it."""
    from .tokens.attach import attach

    choices = switch("choices", options.pop("choices", False))
    try:
        return attach(vit, method, choices=choices, **options)
    except ValueError as error:
        raise ValueError(f"{TIMM_PREFIX}{architecture} with method={method}: {error}") from error


def _created(architecture: str, given: dict[str, Any]) -> nn.Module:
    import timm

    try:
        return timm.create_model(architecture, **given)
    except TypeError as error:
        if "img_size" not in given or "img_size" not in str(error):
            raise
        return timm.create_model(architecture, **{key: value for key, value in given.items() if key != "img_size"})


def is_timm(keys: Iterable[str]) -> bool:
    """True: these are timm's own names."""
    return True


def from_timm(state_dict: dict[str, Tensor]) -> dict[str, Tensor]:
    """The state dict as it is."""
    return state_dict


def is_fused(keys: Iterable[str]) -> bool:
    """False: timm publishes no folded weights."""
    return False


def fitted(named: Mapping[str, Tensor], skeleton: nn.Module) -> tuple[dict[str, Tensor], tuple[str, ...]]:
    """The authors' own state dict under timm's names and in its shapes, by the filter that timm has for the model.

    Also what was done, in a phrase. What fits as it is stays as it is (the classes and the input channels are not
    compared), and so does what the filter does not understand.
    """
    if hasattr(skeleton, "reduction"):  # the ViT is inside, and has all the weights
        inner, notes = fitted(named, skeleton.get_submodule("vit"))
        return {f"vit.{name}": value for name, value in inner.items()}, notes
    adapt: Callable[..., Any] | None = getattr(sys.modules[type(skeleton).__module__], "checkpoint_filter_fn", None)
    if adapt is None or _fits(named, skeleton.state_dict()):
        return dict(named), ()
    try:
        found = adapt(dict(named), skeleton)
    except Exception:  # written for one publisher's files; others are told what does not fit
        return dict(named), ()
    return {name: value for name, value in found.items() if isinstance(value, Tensor)}, ("adapted by timm's filter",)


def _fits(named: Mapping[str, Tensor], expected: Mapping[str, Tensor]) -> bool:
    """Whether names and lengths agree; those of the skeleton that are the probe's (see `fit.py`) agree with any."""
    from .fit import PROBE

    return named.keys() == expected.keys() and all(
        value.ndim == named[name].ndim
        and all(want in (have, PROBE, PROBE + 1) for have, want in zip(named[name].shape, value.shape, strict=True))
        for name, value in expected.items()
    )


# ---- what timm knows -----------------------------------------------------------------------------------------------


def _unknown(architecture: str) -> str:
    import timm

    known, asked = timm.list_models(), architecture.lower()
    containing = [name for name in known if asked and asked in name]
    alike = difflib.get_close_matches(asked, known, n=3, cutoff=0.5)
    close = list(dict.fromkeys([*containing, *alike]))[:3]
    hint = f" (did you mean {' or '.join(TIMM_PREFIX + name for name in close)}?)" if close else ""
    return f"timm has no architecture {architecture!r}{hint}; timm.list_models() names all {len(known):,}"


def _tags(architecture: str) -> list[str]:
    from timm.models._registry import _model_with_tags

    return [name.partition(".")[2] for name in _model_with_tags.get(architecture, ()) if "." in name]


def _module(architecture: str) -> str:
    """timm's file, as in `vision_transformer`."""
    from timm.models import model_entrypoint

    return model_entrypoint(architecture).__module__.rpartition(".")[2]


def _preprocessing(told: Any) -> Preprocessing:
    if told is None:
        return Preprocessing(size=224, resize=256)
    _, height, width = told.input_size
    return Preprocessing(
        size=height,
        resize=math.floor(height / told.crop_pct),
        interpolation=told.interpolation or "bicubic",
        mean=tuple(told.mean),
        std=tuple(told.std),
        width=None if width == height else width,
        squash=told.crop_mode == "squash",
    )


def _downloads(told: Any) -> tuple[Download, ...]:
    """The file on the hub where there is one, which is in safetensors and in timm's names, else its first address."""
    if told is None:
        return ()
    if told.hf_hub_id:
        file = told.hf_hub_filename or "model.safetensors"
        return (Download(f"https://huggingface.co/{told.hf_hub_id}/resolve/main/{file}", "timm"),)
    return (Download(told.url, "timm"),) if told.url else ()


def _paper(told: Any) -> str:
    ids = getattr(told, "paper_ids", None)
    first = (ids if isinstance(ids, str) else next(iter(ids or ()), "")).partition(",")[0]
    return f"https://arxiv.org/abs/{first.removeprefix('arXiv:')}" if first.startswith("arXiv:") else ""
