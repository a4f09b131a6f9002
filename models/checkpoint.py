"""A checkpoint: the state dict found in a weights file, and how it was found.

In the wild a state dict comes bare, or under a key of a larger dict beside optimizer and arguments, and its names may
carry the traces of wrappers (`module.` of DDP, `_orig_mod.` of torch.compile, `backbone.` of a detector, `model.` of
Lightning). Which key was taken and what was cut from the names is part of the answer, so that it can be reported.

Where several keys are there, the first of `CONTAINER_KEYS` is taken: the one whose accuracy the training code states.
timm (`state_dict`, `state_dict_ema`) picks its best epoch by the averaged weights; scripts after DeiT (`model`,
`model_ema`), as those of SHViT and SwiftFormer, state that of the plain ones.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeGuard

import torch
from torch import Tensor

from .weights_file import CheckpointError, open_weights

CONTAINER_KEYS = ("state_dict_ema", "model", "state_dict", "model_ema")

_WRAPPERS = ("_orig_mod.", "_fsdp_wrapped_module.", "_checkpoint_wrapped_module.")
"""What torch's wrappers put into a name, at any place in it."""
_PREFIXES = ("module.", "model.", "backbone.", *_WRAPPERS)


@dataclass(frozen=True)
class Checkpoint:
    """A state dict as it was stored: dense CPU tensors by name, the wrappers' traces removed from the names."""

    tensors: dict[str, Tensor]
    path: Path
    sha256: str
    format: str
    key: str = ""
    """Where in the file the state dict was, dots between nested keys; "" when the file is the state dict."""
    other_keys: tuple[str, ...] = ()
    """Further state dicts in the file, which `read(path, key=…)` takes."""
    prefix: str = ""
    """What was cut from the front of the names."""
    left_out: int = 0
    """How many entries were left out: not under `prefix`, or no tensors."""


def read(path: Path | str, *, key: str | None = None, unwrap: bool = True) -> Checkpoint:
    """The checkpoint in `path`: .pth, .pt or .safetensors; `key` names the state dict in it, else it is searched.

    Without `unwrap` the names stay as they are in the file, for a module that has a `model.` or `backbone.` itself.

    Raises CheckpointError for a file that cannot be used (see `open_weights`), an unknown `key`, a file without a state
    dict, and tensors that are no plain weights (sparse, quantised, without data).
    """
    path = Path(path).expanduser()
    file = open_weights(path)
    found = _state_dicts(file.content)
    try:
        where = _choose(found, key)
        entries, prefix, left_out = _unwrap(found[where]) if unwrap else _as_stored(found[where])
        for name, tensor in entries.items():
            _require_plain(name, tensor)
    except CheckpointError as error:
        raise CheckpointError(f"{path}: {error}") from error
    others = tuple(other for other in found if other != where)
    return Checkpoint(entries, path, file.sha256, file.format, where, others, prefix, left_out)


# ---- where the state dict is ---------------------------------------------------------------------------------------


def _state_dicts(content: object) -> dict[str, Mapping[str, Any]]:
    """Every state dict in the file by its key, down to two levels; "" for the content itself."""
    if not isinstance(content, Mapping):
        return {}
    found: dict[str, Mapping[str, Any]] = {}
    for key, value in content.items():
        if _is_state_dict(value):
            found[str(key)] = value
        elif isinstance(value, Mapping):
            found |= {f"{key}.{inner}": item for inner, item in value.items() if _is_state_dict(item)}
    if not found and _is_state_dict(content):
        found[""] = content
    return found


def _is_state_dict(value: object) -> TypeGuard[Mapping[str, Any]]:
    """Whether most of what is in `value` are named tensors."""
    if not isinstance(value, Mapping) or not all(isinstance(name, str) for name in value):
        return False
    return 2 * sum(isinstance(item, Tensor) for item in value.values()) > len(value)


def _choose(found: Mapping[str, Mapping[str, Any]], key: str | None) -> str:
    there = ", ".join(sorted(found))
    if not found:
        raise CheckpointError("holds no state dict (named tensors); save one: torch.save(model.state_dict(), FILE)")
    if key is not None:
        if key in found:
            return key
        holds = f"it holds {there}" if there else "the file is a bare state dict, so leave the key out"
        raise CheckpointError(f"has no state dict under {key!r}; {holds}")
    for usual in CONTAINER_KEYS:
        if usual in found:
            return usual
    if len(found) > 1:
        raise CheckpointError(f"holds several state dicts ({there}); name one with --checkpoint-key")
    return next(iter(found))


# ---- its names and tensors -----------------------------------------------------------------------------------------


def _as_stored(state_dict: Mapping[str, Any]) -> tuple[dict[str, Tensor], str, int]:
    """As `_unwrap`, with nothing cut."""
    entries = {name: value for name, value in state_dict.items() if isinstance(value, Tensor)}
    return entries, "", len(state_dict) - len(entries)


def _unwrap(state_dict: Mapping[str, Any]) -> tuple[dict[str, Tensor], str, int]:
    """The tensors under their plain names, the prefix cut from them, and how many entries were left out.

    A prefix is cut when most names have it; the others (a detector's head, an average's counter) are then left out.
    """
    entries = {name: value for name, value in state_dict.items() if isinstance(value, Tensor)}
    cut = ""
    while prefix := _common_prefix(entries):
        entries = {name.removeprefix(prefix): value for name, value in entries.items() if name.startswith(prefix)}
        cut += prefix
    plain = {_plain(name): value for name, value in entries.items()}
    if "" in plain or len(plain) < len(entries):
        raise CheckpointError("holds tensors whose names are empty or equal once wrappers are cut; save it again")
    return plain, cut, len(state_dict) - len(plain)


def _common_prefix(names: Iterable[str]) -> str:
    names = list(names)
    return next((p for p in _PREFIXES if 2 * sum(name.startswith(p) for name in names) >= len(names) > 0), "")


def _plain(name: str) -> str:
    for wrapper in _WRAPPERS:
        name = name.replace(wrapper, "")
    return name


def _require_plain(name: str, tensor: Tensor) -> None:
    """Raises CheckpointError unless the tensor is dense, has data, and converts to float32."""
    problem = ""
    if tensor.is_meta:
        problem = "has no data (meta device)"
    elif tensor.layout != torch.strided or tensor.is_quantized or type(tensor) not in (Tensor, torch.nn.Parameter):
        problem = "is sparse, quantised or of a tensor subclass"
    elif tensor.dtype.is_complex:
        problem = "is complex"
    elif tensor.untyped_storage().nbytes() < tensor.numel() * tensor.element_size():
        problem = "repeats its memory (an expanded view)"  # a small file could otherwise ask for any amount of it
    if problem:
        raise CheckpointError(f"the tensor {name!r} {problem}; expected plain dense weights")
