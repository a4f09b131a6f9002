"""A model by its source: with its weights, to run it; or as a skeleton without numbers, to count what it would cost."""

from __future__ import annotations

import torch
from torch import nn

from .. import models
from ..models.fit import build
from ..models.loaded import Loaded, load
from ..models.transfer import Progress
from .artifact import BATCH, TensorSpec
from .job import Source


def loaded_of(source: Source, progress: Progress | None = None) -> Loaded:
    """The model with its weights. Raises ValueError with one line for anything unusable."""
    return load(
        source.variant,
        checkpoint=source.checkpoint,
        checkpoint_key=source.checkpoint_key,
        pretrained=True if source.pretrained == "any" else source.pretrained or False,
        progress=progress,
        num_classes=source.num_classes,
        in_chans=source.in_chans,
        image_size=source.image_size,
        model_args=source.model_args,
        seed=source.seed,
    )


def skeleton(source: Source) -> nn.Module:
    """The model on torch's meta device, which holds shapes and no numbers, in evaluation mode.

    With a checkpoint the number of classes is read off it, so the weights are then loaded. Raises ValueError.
    """
    if source.checkpoint is not None or source.pretrained:
        return loaded_of(source).module
    variant, options = models.find(source.variant), source.model_args
    if source.image_size is not None and "image_size" in variant.model_args:
        options = {**options, "image_size": source.image_size}
    classes = variant.num_classes if source.num_classes is None else source.num_classes
    with torch.device("meta"):
        return build(variant, num_classes=classes, in_chans=source.in_chans, options=options).eval()


def inputs_of(source: Source) -> tuple[TensorSpec, ...]:
    """What the model takes: pictures (batch, channels, height, width), the batch open.

    Raises ValueError for a model whose input is no picture.
    """
    how = models.find(source.variant).preprocessing
    if how is None:
        raise ValueError(f"{source.variant} takes no pictures; expected a vision model, `fuseport list` names them")
    told = source.image_size or source.model_args.get("image_size")
    sides = how.at(int(str(told))).sides if told else how.sides
    return (TensorSpec("image", (BATCH, source.in_chans, *sides), "float32"),)
