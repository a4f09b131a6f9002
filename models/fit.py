"""A checkpoint matched to a variant: which layout, how many classes, which entry goes where, or why it does not fit.

The shapes come from a skeleton: the variant built on torch's meta device, which holds shapes and no numbers. A skeleton
with `PROBE` classes and `PROBE + 1` input channels also tells which entries depend on either, so that both numbers can
be read off the checkpoint of any family. Where a checkpoint does not fit, the same comparison with the other variants
finds the one that it belongs to.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from types import ModuleType
from typing import Any

import torch
from torch import Tensor, nn

from . import FAMILIES, TIMM_PREFIX, create, timm_models, variants
from .checkpoint import Checkpoint
from .unfuse import unfuse
from .variant import Variant
from .weights_file import CheckpointError

PROBE = 100_003
"""A prime that no width or its multiple equals by chance."""


@dataclass(frozen=True)
class Fitted:
    """A checkpoint that fits: `tensors` under the names of `skeleton`, still in their stored number format.

    `skeleton` is the variant on the meta device, built with `num_classes`, `in_chans` and `options`.
    """

    skeleton: nn.Module
    tensors: dict[str, Tensor]
    layout: str
    """"official", or the other publisher: "timm", "torchvision"."""
    num_classes: int
    in_chans: int
    options: dict[str, Any]
    notes: tuple[str, ...] = ()
    """What was done beside copying, one phrase each."""


@dataclass(frozen=True)
class Misfit:
    """Why a checkpoint does not fit: model keys that it lacks, keys that the model lacks, keys of another shape."""

    missing: tuple[str, ...]
    unexpected: tuple[str, ...]
    reshaped: tuple[str, ...]

    @property
    def fits(self) -> bool:
        """Whether there is nothing to say."""
        return not (self.missing or self.unexpected or self.reshaped)

    def __str__(self) -> str:
        parts = (("missing", self.missing), ("unexpected", self.unexpected), ("of another shape", self.reshaped))
        return ", ".join(f"{len(keys)} {what}{_first_few(keys)}" for what, keys in parts)


def fit(
    checkpoint: Checkpoint,
    variant: Variant,
    *,
    num_classes: int | None = None,
    in_chans: int = 3,
    options: Mapping[str, Any] | None = None,
) -> Fitted:
    """The checkpoint as weights of `variant`; the number of classes and a second head are read off it unless given.

    With `num_classes=0` or the option `features` the checkpoint's classifier is left out.
    Raises CheckpointError when it does not fit, with the variant that it would fit, if any.
    """
    try:
        reading = _read_as(variant, checkpoint.tensors, options or {})
    except CheckpointError as error:
        raise CheckpointError(f"{checkpoint.path}: {error}") from error
    found = _match(reading, classifier=num_classes != 0)
    if isinstance(found, Misfit):
        fused = " (already fused: it holds no batch-norm statistics)" if _is_fused(checkpoint.tensors) else ""
        others = ", ".join(checkpoint.other_keys)
        keys = f" (taken: key {checkpoint.key!r}; also there: {others})" if others else ""
        advice = _owner(checkpoint.tensors, variant)
        raise CheckpointError(f"{checkpoint.path}{keys} does not fit {variant.name}{fused}: keys {found}; {advice}")
    if num_classes is not None and found.num_classes != num_classes:
        said = f"{checkpoint.path}: its classifier has {found.num_classes} classes, but {num_classes} were asked for"
        raise CheckpointError(f"{said}; leave --num-classes out, or give another checkpoint")
    if found.in_chans != in_chans:
        said = (
            f"{checkpoint.path}: its first layer has in_chans={found.in_chans}, but in_chans={in_chans} was asked for"
        )
        raise CheckpointError(f"{said}; pass --in-chans {found.in_chans}, or give another checkpoint")
    return found


# ---- the comparison ------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Reading:
    """A checkpoint read as one of `variant`: under the authors' names, beside the shapes of the variant's probe."""

    variant: Variant
    named: dict[str, Tensor]
    layout: str
    options: dict[str, Any]
    notes: tuple[str, ...]
    shapes: dict[str, torch.Size]


def _read_as(variant: Variant, tensors: Mapping[str, Tensor], options: Mapping[str, Any]) -> _Reading:
    named, layout = _official_names(tensors, _family(variant))
    if "distillation" in variant.model_args and "distillation" not in options:
        options = {**options, "distillation": any(name.startswith(("head_dist.", "dist_head.")) for name in named)}
    with_classifier = {option: value for option, value in options.items() if option != "features"}
    probe = _skeleton(variant, PROBE, PROBE + 1, with_classifier)
    notes = ()
    if _is_fused(named):
        named, restored = unfuse(named, probe)
        notes = (f"already fused: {restored} batch norms put back as identities",) if restored else ()
    if adapt := getattr(_family(variant), "fitted", None):
        named, adapted = adapt(named, probe)
        notes += adapted
    return _Reading(variant, named, layout, dict(options), notes, _shapes(probe))


def _match(reading: _Reading, *, classifier: bool) -> Fitted | Misfit:
    """The comparison itself; classes and channels are those of the checkpoint."""
    named, notes = reading.named, reading.notes
    classes, in_chans = _read_off(reading, PROBE) or reading.variant.num_classes, _read_off(reading, PROBE + 1) or 3
    if not classifier or reading.options.get("features"):
        heads = {name.partition(".")[0] for name, shape in reading.shapes.items() if PROBE in shape}
        named, classes = {name: value for name, value in named.items() if name.partition(".")[0] not in heads}, 0
        notes += ("its classifier left out",) if len(named) < len(reading.named) else ()
    skeleton = _skeleton(reading.variant, classes, in_chans, reading.options)
    expected = _shapes(skeleton)
    named = {name: _unsqueezed(value, expected.get(name)) for name, value in named.items()}
    misfit = compare(named, expected)
    if not misfit.fits:
        return misfit
    return Fitted(skeleton, named, reading.layout, classes, in_chans, reading.options, notes)


def compare(named: Mapping[str, Tensor], expected: Mapping[str, torch.Size]) -> Misfit:
    """What of a checkpoint's tensors does not agree with the shapes that a module's state dict has."""

    def of_shape(shape: Iterable[int]) -> str:
        return "×".join(map(str, shape)) or "scalar"

    optional = ".num_batches_tracked"  # counts training steps; some converters drop it, and evaluation ignores it
    return Misfit(
        missing=tuple(name for name in expected if name not in named and not name.endswith(optional)),
        unexpected=tuple(name for name in named if name not in expected),
        reshaped=tuple(
            f"{name} {of_shape(named[name].shape)} for {of_shape(shape)}"
            for name, shape in expected.items()
            if name in named and named[name].shape != shape
        ),
    )


_FORMS: tuple[tuple[str, dict[str, Any], bool], ...] = (
    ("", {}, True),
    (" with features=True", {"features": True}, True),
    (" with num_classes=0", {}, False),
)


def _owner(tensors: Mapping[str, Tensor], asked: Variant) -> str:
    """Which variant, or which form of it, the checkpoint would fit: advice in one phrase."""
    for variant in (asked, *(variant for variant in variants().values() if variant.weights_of is None)):
        try:
            reading = _read_as(variant, tensors, {})
        except CheckpointError:
            continue
        for how, options, classifier in _FORMS if _resembles(reading) else ():
            if options.keys() <= variant.model_args.keys():
                form = replace(reading, options={**reading.options, **options})
                if isinstance(_match(form, classifier=classifier), Fitted):
                    return f"it fits {variant.name}{how}"
    if _is_fused(tensors):
        return "give the checkpoint as it was before fusing"
    known = (name for name, variant in variants().items() if variant.weights_of is None)
    return f"it fits no variant known here ({', '.join(known)})"


def _resembles(reading: _Reading) -> bool:
    """Whether most names are there and of the variant's width: a quick look before building each form of it."""
    common = [name for name in reading.shapes if name in reading.named]
    fixed = (name for name in common if not {PROBE, PROBE + 1} & set(reading.shapes[name]))
    return 2 * len(common) > len(reading.shapes) and all(
        _unsqueezed(reading.named[name], reading.shapes[name]).shape == reading.shapes[name] for name in fixed
    )


# ---- layouts -------------------------------------------------------------------------------------------------------


def _family(variant: Variant) -> ModuleType | None:
    if variant.name.startswith(TIMM_PREFIX):
        return timm_models
    return next((family for family in FAMILIES if family.VARIANTS[0].family == variant.family), None)


def _official_names(tensors: Mapping[str, Tensor], family: ModuleType | None) -> tuple[dict[str, Tensor], str]:
    """The tensors under the authors' names, and in which layout they came."""
    if family is not None and family.is_timm(tensors):
        return family.from_timm(dict(tensors)), getattr(family, "LAYOUT", "timm")
    return dict(tensors), "official"


def _is_fused(tensors: Mapping[str, Tensor]) -> bool:
    return any(family.is_fused(_official_names(tensors, family)[0]) for family in FAMILIES)


# ---- shapes --------------------------------------------------------------------------------------------------------


def _skeleton(variant: Variant, num_classes: int, in_chans: int, options: Mapping[str, Any]) -> nn.Module:
    """The variant on the meta device. Raises ValueError for options that it does not have."""
    with torch.device("meta"):
        return build(variant, num_classes=num_classes, in_chans=in_chans, options=options)


def build(variant: Variant, *, num_classes: int, in_chans: int, options: Mapping[str, Any]) -> nn.Module:
    """The variant, freshly initialised, in evaluation mode; those of the table have their options checked."""
    if variants().get(variant.name) == variant:
        return create(variant.name, num_classes=num_classes, in_chans=in_chans, **options)
    return variant.build(num_classes=num_classes, in_chans=in_chans, **options).eval()


def _shapes(module: nn.Module) -> dict[str, torch.Size]:
    return {name: value.shape for name, value in module.state_dict().items()}


def _read_off(reading: _Reading, probe: int) -> int | None:
    """The length that the checkpoint has where the probe's shapes have `probe`."""
    for name, shape in reading.shapes.items():
        if probe in shape and name in reading.named and reading.named[name].ndim == len(shape):
            return reading.named[name].shape[shape.index(probe)]
    return None


def _unsqueezed(tensor: Tensor, shape: torch.Size | None) -> Tensor:
    """A 1×1 convolution stored as a matrix (out, in), as some fused checkpoints have it, in four dimensions."""
    if shape is not None and tensor.ndim == 2 and shape == (*tensor.shape, 1, 1):
        return tensor[..., None, None]
    return tensor


def _first_few(keys: tuple[str, ...], count: int = 3) -> str:
    if not keys:
        return ""
    return f" ({', '.join(keys[:count])}{', …' if len(keys) > count else ''})"
