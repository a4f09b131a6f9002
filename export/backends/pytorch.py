"""PyTorch on the CPU: the model as its authors define it, the same folded, and the same compiled.

The timed call is the forward in inference mode, with the model's own weights in float32. What torch.compile generates
is made in the first call of each batch size.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from shutil import which
from typing import Any

from ..artifact import TensorSpec
from ..cost import Total, total_of
from ..given import Given
from ..subject import Values
from .backend import Backend, CannotRun, Opened

Make = Callable[[Any, tuple[TensorSpec, ...]], Any]
"""What is run in a module's place."""


def _open(given: Given, threads: int, make: Make) -> Opened:
    """Threads are set for the whole process by whoever measures: torch has them nowhere else."""
    from ..loading import inputs_of, loaded_of

    inputs = inputs_of(given.model)
    module = make(loaded_of(given.model).module, inputs)
    return Opened(inputs, partial(_forward, module))


def _forward(module: Any, feed: Values) -> object:
    import torch

    with torch.inference_mode():
        return module(*map(torch.from_numpy, feed.values()))


def _as_it_is(module: Any, inputs: tuple[TensorSpec, ...]) -> Any:
    return module


def _folded(module: Any, inputs: tuple[TensorSpec, ...]) -> Any:
    import torch
    from torch.export import Dim

    from ...reparam import RULES, capture, fold

    example = [torch.zeros(2, *given.shape[1:], dtype=getattr(torch, given.dtype)) for given in inputs]  # type: ignore[arg-type]
    shapes = tuple({0: Dim.AUTO} for _ in inputs)
    try:
        return fold(capture(module, example, dynamic_shapes=shapes), RULES).module
    except ValueError as error:  # of capture, for a model that it cannot take, and of a fold that is not exact
        raise CannotRun(f"it cannot be folded: {error}") from error


def _compiled(module: Any, inputs: tuple[TensorSpec, ...]) -> Any:
    import torch

    return torch.compile(module)


def _folded_count(given: Given) -> Total:
    from ...reparam.layer_cost import layers
    from ..loading import inputs_of, loaded_of

    return total_of(layers(_folded(loaded_of(given.model).module, inputs_of(given.model))))


def _compiled_count(given: Given) -> Total:
    raise CannotRun("torch.compile fuses operators as it likes")


def _no_torch() -> str:
    from .. import loading  # noqa: F401  imported here, so that no contestant's load time contains it

    return ""


def _no_rules() -> str:
    import torch.export  # noqa: F401  as above

    from ... import reparam  # noqa: F401

    return _no_torch()


def _no_compiler() -> str:
    import torch._dynamo  # noqa: F401  as above

    found = which("c++") or which("g++") or which("clang++")
    return _no_torch() if found else "torch.compile needs a C++ compiler (g++ or clang++), none is installed here"


BACKENDS = (
    Backend("torch", "PyTorch eager", "model", partial(_open, make=_as_it_is), _no_torch, "always"),
    Backend(
        "torch-folded",
        "PyTorch folded",
        "model",
        partial(_open, make=_folded),
        _no_rules,
        "on request",
        count=_folded_count,
    ),
    Backend(
        "torch-compile",
        "PyTorch compiled",
        "model",
        partial(_open, make=_compiled),
        _no_compiler,
        "on request",
        "compiling is part of the first call",
        count=_compiled_count,
    ),
)
