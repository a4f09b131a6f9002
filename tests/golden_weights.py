"""The golden formula: weights and pictures as a function of key, shape and seed letter (tests/golden/README.md)."""

from __future__ import annotations

import zlib
from collections.abc import Iterable
from pathlib import Path

import numpy as np
import torch
from fuseport.models import create
from torch import nn

GOLDEN = Path(__file__).parent / "golden"


def uniform(key: str, shape: Iterable[int], seed: str) -> np.ndarray:
    """float64 in [0, 1), from the raw PCG64 stream alone, which NumPy keeps stable."""
    shape = tuple(shape)
    bits = np.random.PCG64(zlib.crc32(f"{seed}:{key}".encode())).random_raw(int(np.prod(shape)))
    return ((bits >> np.uint64(11)) * 2.0**-53).reshape(shape)


def signed(key: str, shape: Iterable[int], seed: str) -> np.ndarray:
    """float64 of mean 0 and variance 1."""
    return (2 * uniform(key, shape, seed) - 1) * 3**0.5


def weight(key: str, shape: Iterable[int], seed: str) -> np.ndarray:
    """The value of one state-dict entry (official spelling of the key)."""
    shape, leaf = tuple(shape), key.rsplit(".", 1)[-1]
    if leaf == "num_batches_tracked":
        return np.zeros(shape, np.int64)
    u = uniform(key, shape, seed)
    z = (2 * u - 1) * 3**0.5
    if leaf == "running_var":
        value = 0.5 + u
    elif leaf == "running_mean":
        value = 0.2 * z
    elif leaf in ("class_token", "pos_embedding"):
        value = 0.5 * z
    elif leaf == "layer_scale_1":
        value = 4 + 4 * u
    elif leaf.startswith("layer_scale"):
        value = 0.5 + 0.5 * u
    elif leaf.endswith("bias"):
        value = 0.1 * z
    elif len(shape) == 1:
        value = 0.5 + 0.5 * u
    else:
        value = z * (2 if leaf == "in_proj_weight" else 1) / np.prod(shape[1:]) ** 0.5
    return value.astype(np.float32)


def image(shape: Iterable[int], seed: str) -> torch.Tensor:
    """float32 (N, 3, H, W), of the kind a normalised picture is."""
    return torch.from_numpy(signed("image", shape, seed).astype(np.float32))


def load_golden_(module: nn.Module, seed: str = "A", prefix: str = "") -> nn.Module:
    """Fill every tensor of `module` in place by the formula, keys taken below `prefix`; returns the module."""
    state = module.state_dict()
    module.load_state_dict(
        {key: torch.from_numpy(weight(prefix + key, value.shape, seed)) for key, value in state.items()}
    )
    return module


def golden(name: str, seed: str = "A", **options: object) -> nn.Module:
    """The variant `name` with golden weights, in evaluation mode; no time is spent on its own initialisation."""
    with torch.device("meta"):
        module = create(name, **options)
    return load_golden_(module.to_empty(device="cpu"), seed)


def assert_close(actual: torch.Tensor | np.ndarray, expected: torch.Tensor | np.ndarray, bound: float = 1e-4) -> None:
    """Assert that no element is off by more than `bound` of the largest expected one; names the worst element."""
    actual, expected = np.asarray(actual, np.float64), np.asarray(expected, np.float64)
    assert actual.shape == expected.shape, f"shape {actual.shape}, expected {expected.shape}"
    error = np.abs(actual - expected)
    worst = np.unravel_index(error.argmax(), error.shape) if error.ndim else ()
    message = f"{float(actual[worst])} for {float(expected[worst])} at {tuple(map(int, worst))}"
    assert error.max() <= bound * np.abs(expected).max(), message  # a NaN fails: it compares as false


def assert_golden_stages(module: nn.Module, recorded: list[dict], x: torch.Tensor) -> torch.Tensor:
    """Run `module` on `x`, hold each recorded stage output against what its submodule gave, and return the output."""
    seen: dict[str, torch.Tensor] = {}
    hooks = [
        module.get_submodule(stage["at"]).register_forward_hook(
            lambda _module, _args, output, at=stage["at"]: seen.__setitem__(at, output)
        )
        for stage in recorded
    ]
    with torch.no_grad():
        output = module(x)
    for hook in hooks:
        hook.remove()
    for stage in recorded:
        y = seen[stage["at"]]
        assert list(y.shape) == stage["shape"]
        summary = [*y[0, :4, 0, 0], y.mean(), y.square().mean().sqrt()]
        assert_close(np.array(summary), np.array([*stage["first4"], stage["mean"], stage["rms"]]))
    return output
