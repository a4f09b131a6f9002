"""A model by its source: with its weights, to run it; or as a skeleton without numbers, to count what it would cost."""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import nn

from .. import models
from ..models.fit import build
from ..models.inputs import InputError
from ..models.loaded import Loaded, load
from ..models.transfer import Progress
from ..models.user_model import load_file, load_module
from .artifact import BATCH, TensorSpec
from .job import Source


def loaded_of(source: Source, progress: Progress | None = None) -> Loaded:
    """The model with its weights. Raises ValueError with one line for anything unusable."""
    if source.module is not None or source.is_file:
        return _normalised(_own(source), source)
    if source.mean or source.std:
        raise ValueError(f"--mean and --std are for a model of your own; those of {source.variant} are known")
    if source.inputs:
        raise InputError(f"{source.variant} knows its input; leave --input-shape out (--image-size gives another size)")
    if source.own_weights:
        raise ValueError(f"--own-weights is for a model out of a FILE.py; {source.variant} has --pretrained")
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


def _normalised(loaded: Loaded, source: Source) -> Loaded:
    """With the mean and std that the user tells for the pictures of an own model."""
    told = {name: values for name, values in (("mean", source.mean), ("std", source.std)) if values is not None}
    if not told:
        return loaded
    if loaded.preprocessing is None:
        raise ValueError(
            f"--{next(iter(told))} is for a model of one picture of 3 channels; {loaded.variant.name} is none"
        )
    for name, values in told.items():
        if len(values) != 3 or (name == "std" and min(values) <= 0):
            raise ValueError(
                f"--{name} takes three numbers{' above 0' * (name == 'std')}, as in 0.5,0.5,0.5; got {values}"
            )
    return replace(loaded, preprocessing=replace(loaded.preprocessing, **told))


def _own(source: Source) -> Loaded:
    if source.module is not None:
        return load_module(source.module, source.inputs, condition=not source.own_weights, seed=source.seed)
    strange = {"pretrained": source.pretrained, "num-classes": source.num_classes, "image-size": source.image_size}
    if asked := [option for option, value in strange.items() if value is not None] + ["in-chans"] * (
        source.in_chans != 3
    ):
        instead = (
            "--checkpoint or --own-weights" if asked[0] == "pretrained" else "--input-shape, or --model-arg KEY=VALUE"
        )
        raise ValueError(f"--{asked[0]} is for the models of `fuseport list`; for {source.variant} give {instead}")
    return load_file(
        source.variant,
        source.inputs,
        checkpoint=source.checkpoint,
        checkpoint_key=source.checkpoint_key,
        own_weights=source.own_weights,
        model_args=source.model_args,
        seed=source.seed,
    )


def skeleton(source: Source) -> nn.Module:
    """The model on torch's meta device, which holds shapes and no numbers, in evaluation mode.

    With a checkpoint the number of classes is read off it, so the weights are then loaded; a user's own code makes the
    module as it does. Raises ValueError.
    """
    if source.module is not None or source.is_file:
        return loaded_of(replace(source, own_weights=source.checkpoint is None)).module
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
    if source.module is not None or source.is_file:
        taken = loaded_of(replace(source, own_weights=source.checkpoint is None)).inputs
        return tuple(TensorSpec(one.name, (BATCH, *one.shape), one.dtype) for one in taken)
    how = models.find(source.variant).preprocessing
    if how is None:
        raise ValueError(f"{source.variant} takes no pictures; expected a vision model, `fuseport list` names them")
    told = source.image_size or source.model_args.get("image_size")
    sides = how.at(int(str(told))).sides if told else how.sides
    return (TensorSpec("image", (BATCH, source.in_chans, *sides), "float32"),)
