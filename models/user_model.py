"""A model that is in no table: out of a user's file, or a module that exists already, with its inputs as they were told.

What a factory makes is a fresh initialisation, which is blind (see `conditioned.py`); so without a checkpoint its weights
are conditioned, unless the caller says that the factory has loaded its own (`keep_init`). A module handed over from
Python has the weights that its owner wants, and keeps them unless asked otherwise.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from .checkpoint import Checkpoint, read
from .conditioned import fill_conditioned_
from .fit import compare
from .inputs import Given, Input, bind
from .loaded import Loaded, Weights, fill_, require_floats
from .user_file import build, split
from .variant import Preprocessing, Variant
from .weights_file import CheckpointError

FAMILY = "own model"


def load_file(
    location: str,
    given: Sequence[Given],
    *,
    checkpoint: Path | str | None = None,
    checkpoint_key: str | None = None,
    keep_init: bool = False,
    model_args: Mapping[str, Any] | None = None,
    seed: int = 0,
) -> tuple[Loaded, int]:
    """The model of `FILE.py:NAME` with weights from a checkpoint, its own (`keep_init`), or conditioned; and its batch.

    Runs the user's file. Raises ValueError (UserModelError, InputError, CheckpointError) with one line.
    """
    module, name = build(location, model_args or {})
    module = _in_float32(module)
    inputs, batch = bind(module, given)
    weights = _weigh(module, name, inputs, batch, checkpoint, checkpoint_key, keep_init, seed)
    return _loaded(module, name, f"of {split(location)[0].name}", inputs, weights), batch


def load_module(
    module: nn.Module, given: Sequence[Given], *, condition: bool = False, seed: int = 0
) -> tuple[Loaded, int]:
    """A module from Python with the weights that it has, or on a copy conditioned ones; and its batch.

    Raises ValueError (InputError) with one line.
    """
    if module.training:
        raise ValueError("the model is in training mode; expected a model in evaluation mode: call .eval() first")
    name = type(module).__name__
    taken = _in_float32(copy.deepcopy(module) if condition else module)
    inputs, batch = bind(taken, given)
    weights = _weigh(taken, name, inputs, batch, None, None, not condition, seed)
    return _loaded(taken, name, "from Python", inputs, weights), batch


def _loaded(module: nn.Module, name: str, origin: str, inputs: tuple[Input, ...], weights: Weights) -> Loaded:
    prepared = _preprocessing(inputs)
    variant = Variant(
        name=name,
        family=f"{FAMILY} {origin}",
        build=lambda: copy.deepcopy(module),
        preprocessing=prepared,
        parameters=None,
        macs=None,
    )
    return Loaded(module, variant, weights, inputs, prepared)


def _weigh(
    module: nn.Module,
    name: str,
    inputs: tuple[Input, ...],
    batch: int,
    checkpoint: Path | str | None,
    key: str | None,
    keep_init: bool,
    seed: int,
) -> Weights:
    """Fill the module with weights, and say which."""
    if checkpoint is not None:
        if keep_init:
            raise CheckpointError("a checkpoint and the model's own weights were both asked for; choose one")
        return _from_checkpoint(module, name, Path(checkpoint), key)
    if key is not None:
        raise CheckpointError(f"a checkpoint key ({key!r}) was given, but no checkpoint to find it in")
    if keep_init:
        return Weights("own", name)
    try:
        fill_conditioned_(module, seed, inputs=inputs)
    except ValueError:
        fill_conditioned_(module, seed, inputs=inputs, batch=batch)  # a model may be made for one batch alone
    return Weights("conditioned", "random", seed=seed)


def _from_checkpoint(module: nn.Module, name: str, path: Path, key: str | None) -> Weights:
    """Load the file strictly, under the names as they are in it, or else with the usual prefixes cut."""
    shapes = {key: value.shape for key, value in module.state_dict().items()}
    found = read(path, key=key)
    plain = read(path, key=key, unwrap=False) if found.prefix else found
    for candidate in (plain, found):
        if compare(candidate.tensors, shapes).fits:
            require_floats(candidate.tensors, module, path)
            fill_(module, candidate.tensors, path)
            return Weights("checkpoint", path.name, found.sha256, found.key, "own", notes=_notes(candidate))
    raise CheckpointError(f"{path} does not fit {name}: keys {compare(plain.tensors, shapes)}; expected its state_dict")


def _notes(checkpoint: Checkpoint) -> tuple[str, ...]:
    return (f"prefix {checkpoint.prefix} cut",) if checkpoint.prefix else ()


def _in_float32(module: nn.Module) -> nn.Module:
    """The module, its weights in float32: what is converted is rounded by the converter, and nowhere before."""
    tensors: list[Tensor] = [*module.parameters(), *module.buffers()]
    other = {value.dtype for value in tensors if value.is_floating_point()} - {torch.float32}
    return copy.deepcopy(module).float() if other else module


def _preprocessing(inputs: tuple[Input, ...]) -> Preprocessing | None:
    """ImageNet's, for a model whose only input is a picture of three channels."""
    if len(inputs) != 1 or not inputs[0].is_map or inputs[0].shape[0] != 3:
        return None
    _, height, width = inputs[0].shape
    prepared = Preprocessing(size=height, resize=height)
    return prepared if height == width else replace(prepared, width=width)
