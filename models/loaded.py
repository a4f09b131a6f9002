"""A variant with its weights in, and an account of where they came from."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from . import find
from .checkpoint import Checkpoint, read
from .conditioned import fill_conditioned_
from .fit import Fitted, build, fit
from .inputs import Input
from .pretrained import pretrained as published
from .transfer import Progress
from .variant import Preprocessing, Variant
from .weights_file import CheckpointError


@dataclass(frozen=True)
class Weights:
    """Where weights came from. `kind` is "checkpoint", "pretrained", "conditioned" (random; see `fill_conditioned_`),
    or "own" (those that a user's module has).

    `source` is the file's name without its folder, the address, or what made the module; `key` the place of the state
    dict in the file, "" for a bare one. What does not apply is None.
    """

    kind: str
    source: str
    sha256: str | None = None
    key: str | None = None
    layout: str | None = None
    seed: int | None = None
    notes: tuple[str, ...] = ()
    """What was done beside copying, one phrase each."""

    def describe(self) -> str:
        """One line, the same on every machine: it goes into reports and into the metadata of artifacts."""
        if self.kind == "conditioned":
            return f"random, conditioned, seed {self.seed}"
        if self.kind == "own":
            return f"the model's own, as {self.source} has them, sha256 {(self.sha256 or 'unknown')[:12]}…"
        where = f"key {self.key}" if self.key else "bare state dict"
        what = "published" if self.kind == "pretrained" else "checkpoint"
        sha256 = (self.sha256 or "unknown")[:12]
        return ", ".join((f"{what} {self.source}", where, f"{self.layout} layout", f"sha256 {sha256}…", *self.notes))


@dataclass(frozen=True)
class Loaded:
    """A module in evaluation mode, the variant that it is, its weights' origin, and what it takes.

    `preprocessing` is the variant's, at the size asked for; None for a model whose input is no picture.
    """

    module: nn.Module
    variant: Variant
    weights: Weights
    inputs: tuple[Input, ...]
    preprocessing: Preprocessing | None


def load(
    variant: Variant | str,
    *,
    checkpoint: Path | str | None = None,
    checkpoint_key: str | None = None,
    pretrained: bool | str = False,
    num_classes: int | None = None,
    in_chans: int = 3,
    image_size: int | None = None,
    model_args: Mapping[str, Any] | None = None,
    seed: int = 0,
    progress: Progress | None = None,
) -> Loaded:
    """The variant with weights from a file, the web (`pretrained`: True, "official" or "timm"), or conditioned ones.

    `num_classes` is read off the weights, and the variant's own without any. `image_size` is the side of its pictures;
    a variant that is built for one size (it has the option `image_size`) is built for this one. `model_args` are the
    variant's further options, `seed` is that of conditioned weights, `progress` is told of a download.
    Raises ValueError (CheckpointError, UnknownVariantError) with one line for anything that cannot be used.
    """
    variant = find(variant) if isinstance(variant, str) else variant
    if checkpoint is not None and pretrained:
        raise CheckpointError("both a checkpoint and pretrained weights were asked for; choose one")
    if checkpoint_key is not None and checkpoint is None and not pretrained:
        raise CheckpointError(f"a checkpoint key ({checkpoint_key!r}) was given, but no checkpoint to find it in")
    preprocessing, options = _sized(variant, image_size, dict(model_args or {}))
    inputs = (Input("image", (in_chans, *preprocessing.sides)),)
    if checkpoint is None and not pretrained:
        module = _conditioned(variant, num_classes, inputs[0].shape, options, seed)
        return Loaded(module, variant, Weights("conditioned", "random", seed=seed), inputs, preprocessing)

    if checkpoint is not None:
        kind, file = "checkpoint", Path(checkpoint)
        source = file.name
    else:
        file, which = published(variant, None if pretrained is True else str(pretrained), progress=progress)
        kind, source = "pretrained", which.url
    found = read(file, key=checkpoint_key)
    fitted = fit(found, variant, num_classes=num_classes, in_chans=in_chans, options=options)
    notes = (*_selection(found), *fitted.notes, *_conversion(fitted))
    weights = Weights(kind, source, found.sha256, found.key, fitted.layout, notes=notes)
    return Loaded(_filled(fitted, variant, found.path), variant, weights, inputs, preprocessing)


def _sized(variant: Variant, image_size: int | None, options: dict[str, Any]) -> tuple[Preprocessing, dict[str, Any]]:
    """How pictures are prepared at the size asked for, and the options with which the variant is built for it."""
    told = options.get("image_size")
    if image_size is not None and told not in (None, image_size):
        raise ValueError(f"image_size={told} and a size of {image_size} were both asked for; choose one")
    size = image_size if told is None else int(told)
    assert variant.preprocessing is not None
    if size is None:
        return variant.preprocessing, options
    return variant.preprocessing.at(size), options | (
        {"image_size": size} if "image_size" in variant.model_args else {}
    )


def _conditioned(
    variant: Variant, num_classes: int | None, shape: tuple[int, ...], options: Mapping[str, Any], seed: int
) -> nn.Module:
    num_classes = variant.num_classes if num_classes is None else num_classes
    module = build(variant, num_classes=num_classes, in_chans=shape[0], options=options)
    channels, height, width = shape
    fill_conditioned_(module, seed, picture=(channels, height, width))
    return module


def _filled(fitted: Fitted, variant: Variant, path: Path) -> nn.Module:
    """A module of the fitted weights in float32. Raises CheckpointError for weights that are no finite numbers."""
    require_floats(fitted.tensors, fitted.skeleton, path)
    return fill_(_blank(fitted, variant), fitted.tensors, path)


def require_floats(tensors: Mapping[str, Tensor], module: nn.Module, path: Path) -> None:
    """Raise CheckpointError where the file has whole numbers for weights of the module."""
    for name, tensor in module.state_dict().items():
        stored = tensors.get(name)
        if stored is not None and tensor.is_floating_point() and not stored.is_floating_point():
            raise CheckpointError(f"{path}: {name} holds {stored.dtype} numbers; expected floating-point weights")


def fill_(module: nn.Module, tensors: Mapping[str, Tensor], path: Path) -> nn.Module:
    """The module with these weights, which fit it, in place. Raises CheckpointError for NaN and infinities."""
    tracked = torch.zeros((), dtype=torch.int64)  # only these may be missing
    module.load_state_dict({name: tensors.get(name, tracked) for name in module.state_dict()})
    for name, tensor in module.state_dict().items():
        if not tensor.isfinite().all():
            bad = int((~tensor.isfinite()).sum())
            said = f"{path}: {bad} of the {tensor.numel()} numbers of {name} are NaN or infinite"
            raise CheckpointError(f"{said}; the training diverged or the file is damaged, take another checkpoint")
    return module


def _blank(fitted: Fitted, variant: Variant) -> nn.Module:
    """A module with memory for the weights, not initialised at random where the state dict holds every tensor."""
    stored = fitted.skeleton.state_dict().keys()
    tensors = [value for module in fitted.skeleton.modules() for value in vars(module).values()]
    if any(isinstance(value, Tensor) for value in tensors) or any(
        name not in stored for name, _ in fitted.skeleton.named_buffers()
    ):
        return build(variant, num_classes=fitted.num_classes, in_chans=fitted.in_chans, options=fitted.options)
    return copy.deepcopy(fitted.skeleton).to_empty(device="cpu")


def _selection(checkpoint: Checkpoint) -> tuple[str, ...]:
    """What was chosen in the file and what was not, one phrase each."""
    notes = []
    if checkpoint.other_keys:
        notes.append(f"not taken: {', '.join(checkpoint.other_keys)}")
    if checkpoint.prefix:
        notes.append(f"prefix {checkpoint.prefix} cut")
    if checkpoint.left_out:
        notes.append(f"entries left out: {checkpoint.left_out}")
    return tuple(notes)


def _conversion(fitted: Fitted) -> tuple[str, ...]:
    formats = {t.dtype for t in fitted.tensors.values() if t.is_floating_point()} - {torch.float32}
    names = sorted(str(dtype).removeprefix("torch.") for dtype in formats)
    return (f"converted to float32 from {', '.join(names)}",) if names else ()
