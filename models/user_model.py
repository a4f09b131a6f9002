"""A model that is in no table: out of a user's file, or a module that exists already.

What a factory makes is a fresh initialisation, which is blind (see `conditioned.py`); so without a checkpoint its
weights are conditioned, unless the caller says that the factory has loaded its own (`own_weights`). A module from
Python has the weights that its owner wants, and keeps them unless asked otherwise.
"""

from __future__ import annotations

import copy
import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from .checkpoint import Checkpoint, read
from .conditioned import fill_conditioned_
from .fit import compare
from .inputs import Given, Input, batch_of, bind
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
    own_weights: bool = False,
    model_args: Mapping[str, Any] | None = None,
    seed: int = 0,
) -> Loaded:
    """The model of `FILE.py:NAME` with weights from a checkpoint, its own (`own_weights`), or conditioned ones.

    Runs the user's file. Raises ValueError (UserModelError, InputError, CheckpointError) with one line.
    """
    made, name = build(location, model_args or {})
    module = _in_float32(made)
    inputs, batch = bind(module, given), batch_of(given)
    weights = _weigh(module, name, inputs, batch, checkpoint, checkpoint_key, own_weights, seed)
    return _loaded(module, f"{split(location)[0].name}:{name}", inputs, weights)


def load_module(module: nn.Module, given: Sequence[Given], *, condition: bool = False, seed: int = 0) -> Loaded:
    """A module from Python with the weights that it has, or on a copy conditioned ones.

    Raises ValueError (InputError) with one line.
    """
    name = type(module).__name__
    if training := [at or name for at, part in module.named_modules() if part.training]:
        raise ValueError(f"{training[0]} is in training mode; expected a model in evaluation mode: call .eval() first")
    taken = _in_float32(copy.deepcopy(module) if condition else module)
    inputs, batch = bind(taken, given), batch_of(given)
    return _loaded(taken, name, inputs, _weigh(taken, name, inputs, batch, None, None, not condition, seed))


def _loaded(module: nn.Module, name: str, inputs: tuple[Input, ...], weights: Weights) -> Loaded:
    prepared = _preprocessing(inputs)
    variant = Variant(
        name=name,
        family=FAMILY,
        build=lambda: copy.deepcopy(module),
        preprocessing=prepared,
        parameters=sum(value.numel() for value in module.parameters()),
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
    own_weights: bool,
    seed: int,
) -> Weights:
    """Fill the module with weights, and say which."""
    if checkpoint is not None:
        if own_weights:
            raise CheckpointError("a checkpoint and the model's own weights were both asked for; choose one")
        return _from_checkpoint(module, name, Path(checkpoint), key)
    if key is not None:
        raise CheckpointError(f"a checkpoint key ({key!r}) was given, but no checkpoint to find it in")
    if own_weights:
        return Weights("own", name, _sha256(module))
    try:
        fill_conditioned_(module, seed, inputs=inputs)
    except ValueError:
        fill_conditioned_(module, seed, inputs=inputs, batch=batch)  # a model may be made for one batch alone
    return Weights("conditioned", "random", seed=seed)


def _sha256(module: nn.Module) -> str:
    """Of all weights with their names, in the order of the state dict."""
    digest = hashlib.sha256()
    for name, value in module.state_dict().items():
        digest.update(f"{name} {value.dtype} {tuple(value.shape)}".encode())
        digest.update(value.detach().cpu().contiguous().flatten().view(torch.uint8).numpy().data)
    return digest.hexdigest()


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
    """The module on the CPU, its weights in float32: what is converted is rounded by the converter, nowhere before."""
    tensors: list[Tensor] = [*module.parameters(), *module.buffers()]
    if any(value.is_meta for value in tensors):
        raise ValueError("the model is on the meta device and has no numbers; expected one with its weights loaded")
    dtypes = {value.dtype for value in tensors if value.is_floating_point()}
    if dtypes <= {torch.float32} and all(value.device.type == "cpu" for value in tensors):
        return module
    return copy.deepcopy(module).float().cpu()


def _preprocessing(inputs: tuple[Input, ...]) -> Preprocessing | None:
    """ImageNet's, for a model whose only input is a picture of three channels."""
    if len(inputs) != 1 or not inputs[0].is_map or inputs[0].shape[0] != 3:
        return None
    _, height, width = inputs[0].shape
    prepared = Preprocessing(size=height, resize=height)
    return prepared if height == width else replace(prepared, width=width)
