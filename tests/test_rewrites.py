"""Each rewrite is the operator it stands for, and what comes out of coremltools computes it.

All cases are captured as one program, legalized and compared with PyTorch in float64, to the last bits; then converted,
saved, and run by our executor without rounding. The values are those at which coremltools alone goes wrong.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from fuseport import mil
from fuseport.export.formats import to_coreml
from fuseport.export.lowering.legalize import legalize
from fuseport.export.lowering.rewrites import EXPANDED, REWRITES
from fuseport.export.request import Request
from programs import captured
from torch import Tensor, nn
from torch.export import ExportedProgram

INFINITY = float("inf")


def random(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


class Of(nn.Module):
    """Functions as a module: each takes its share of the inputs, and gives one output."""

    def __init__(self, *cases: tuple[Callable[..., Tensor], tuple[Tensor, ...]]) -> None:
        super().__init__()
        self.cases = cases

    def forward(self, *inputs: Tensor) -> tuple[Tensor, ...]:
        left = iter(inputs)
        return tuple(function(*(next(left) for _ in own)) for function, own in self.cases)


X, Y, SMALL = random(2, 3), random(2, 3, seed=1), torch.tensor([1e-3, -1e-2, 0.1, 5.0])
PLANE = random(1, 2, 9, 7)
WHOLE = torch.tensor([7, -7, 3], dtype=torch.int32)
LEFT, UP = torch.tensor([-1.0, -3.0, -1e-9, 2.0, 0.0, 0.0]), torch.tensor([0.0, 1.0, -1.0, -1.0, 1.0, -2.0])


def resized(**how: Any) -> Callable[[Tensor], Tensor]:
    return lambda x: F.interpolate(x, **how)


CASES: dict[str, tuple[Callable[..., Tensor], tuple[Tensor, ...]]] = {
    "add, alpha": (lambda x, y: torch.add(x, y, alpha=3), (X, Y)),
    "add, scalar alpha": (lambda x: torch.add(x, 2.0, alpha=3), (X,)),
    "sub, alpha": (lambda x, y: torch.sub(x, y, alpha=5), (X, Y)),
    "rsub, alpha": (lambda x: torch.rsub(x, 1.5, alpha=2), (X,)),
    "addcmul, value": (lambda x, y: torch.addcmul(x, y, y, value=0.3), (X, Y)),
    "addcdiv": (lambda x, y: torch.addcdiv(x, y, y + 5, value=0.3), (X, Y)),
    "lerp": (lambda x, y: torch.lerp(x, y, 0.3), (X, Y)),
    "reciprocal": (torch.reciprocal, (SMALL,)),
    "1 / x": (lambda x: 1.0 / x, (SMALL,)),
    "reciprocal of a scalar": (lambda x: torch.reciprocal(x.sum()), (SMALL,)),
    "x // 1": (lambda x: torch.floor_divide(x, 1.0), (3 * X,)),
    "div by 1, floor": (lambda x: torch.div(x, 1.0, rounding_mode="floor"), (3 * X,)),
    "integers // 2": (lambda x: x // 2, (WHOLE,)),
    "integers div by 2, floor": (lambda x: torch.div(x, 2, rounding_mode="floor"), (WHOLE,)),
    "integers, clipped to an index": (lambda x: F.one_hot(x.clamp(0, 5).long(), 6), (WHOLE,)),
    "atan2": (torch.atan2, (UP, LEFT)),
    "prelu, a slope each, in rows": (F.prelu, (X, SMALL[:3])),
    "prelu, a slope each, in sequences": (F.prelu, (random(2, 3, 4), SMALL[:3])),
    "rms norm": (lambda x: F.rms_norm(x, (3,), eps=1e-5), (X,)),
    "rms norm, large and weighted": (lambda x, w: F.rms_norm(1e3 * x, (3,), w, 1e-3), (X, SMALL[:3])),
    "rms norm, small": (lambda x: F.rms_norm(1e-3 * x, (2, 3), eps=1e-5), (X,)),
    "rms norm, zeros": (lambda x: F.rms_norm(0 * x, (3,), eps=1e-5), (X,)),
    "div by a number": (lambda x: x / 10 + x / 0.3, (X,)),
    "div, whole numbers": (lambda n: n / 2, (WHOLE,)),
    "gelu, tanh": (lambda x: F.gelu(x, approximate="tanh"), (X,)),
    "softplus, threshold": (lambda x: F.softplus(x, beta=2.0, threshold=5.0), (3 * X,)),
    "log_sigmoid": (F.logsigmoid, (X,)),
    "logit": (torch.logit, (torch.sigmoid(X),)),
    "celu": (lambda x: F.celu(x, 2.5), (X,)),
    "heaviside": (lambda x: torch.heaviside(x, x.new_tensor(0.5)), (torch.tensor([-1.0, 0.0, 1.0]),)),
    "log_softmax": (lambda x: F.log_softmax(x, 1), (100 * X,)),
    "log_softmax of the core set": (lambda x: torch.ops.aten._log_softmax.default(x, 1, False), (100 * X,)),
    "sum of booleans": (lambda x: (x > 0).sum(1), (X,)),
    "var_mean": (lambda x: torch.stack(torch.var_mean(x, dim=1)), (X,)),
    "var_mean, correction": (lambda x: torch.stack(torch.var_mean(x, dim=1, correction=2)), (X,)),
    "argmax of all": (lambda x: x.argmax(), (X,)),
    "argmin of all, kept": (lambda x: torch.argmin(x, dim=None, keepdim=True), (X,)),
    "triu of infinity": (lambda x: torch.triu(x, 1), (torch.full((3, 4), -INFINITY),)),
    "tril of infinity": (lambda x: torch.tril(x, -1), (torch.full((4, 3), INFINITY),)),
    "diagonal": (torch.diagonal, (random(5, 5),)),
    "diagonal, offset": (lambda x: torch.diagonal(x, -1, 1, 2), (random(2, 4, 5),)),
    "diagonal beside a wide matrix": (lambda x: torch.diagonal(x, 2), (random(3, 6),)),
    "rot90": (lambda x: torch.rot90(x, 1, (2, 3)), (PLANE,)),
    "channel_shuffle": (lambda x: F.channel_shuffle(x, 2), (random(1, 4, 3, 3),)),
    "group_norm, one group": (lambda x, w, b: F.group_norm(x, 1, w, b, 1e-2), (PLANE, random(2), random(2, seed=1))),
    "nearest, 1.7": (resized(scale_factor=1.7, mode="nearest"), (PLANE,)),
    "nearest-exact": (resized(size=(4, 15), mode="nearest-exact"), (PLANE,)),
    "bilinear, 1.7": (resized(scale_factor=1.7, mode="bilinear"), (PLANE,)),
    "bilinear, half, corners": (resized(scale_factor=0.5, mode="bilinear", align_corners=True), (PLANE,)),
    "bilinear, antialias": (resized(size=(3, 4), mode="bilinear", antialias=True), (PLANE,)),
    "bicubic": (resized(size=(5, 12), mode="bicubic"), (PLANE,)),
    "bicubic, antialias": (resized(scale_factor=0.4, mode="bicubic", antialias=True), (PLANE,)),
    "patches": (lambda x: F.unfold(x, (3, 2), dilation=(1, 2), padding=1, stride=(2, 1)), (PLANE,)),
    "patches put back": (
        lambda x: F.fold(x, (9, 7), (3, 2), dilation=(1, 2), padding=1, stride=(3, 1)),
        (random(1, 12, 21),),
    ),
    "few windows": (lambda x: x.unfold(2, 5, 3), (PLANE,)),
    "many windows": (lambda x: x.unfold(-1, 2, 1), (PLANE,)),
    "crop": (lambda x: F.pad(x, (-1, 2, 3, -2)), (PLANE,)),
    "crop alone": (lambda x: F.pad(x, (-1, 0)), (PLANE,)),
    "maximum, no stride": (lambda x: F.max_pool2d(x, 2, ceil_mode=True), (PLANE,)),
    "maximum with its index, no stride": (lambda x: F.max_pool2d(x, (3, 2), return_indices=True)[0], (PLANE,)),
    "maximum of a sequence, no stride": (lambda x: F.max_pool1d(x, 3, padding=1), (random(1, 2, 9),)),
    "maximum of a volume, no stride": (lambda x: F.max_pool3d(x, 2), (random(1, 2, 4, 5, 6),)),
    "sum of all, transposed": (lambda x: x.mT.relu().mT + x.mT.sum(), (X,)),
    "mean of all, transposed": (lambda x: x.mT.relu().mT * x.mT.mean(), (X,)),
    "extremes of all, transposed": (lambda x: x.mT.relu().mT * x.mT.max() + x.mT.min() + x.mT.amax(), (X,)),
    "spread of all, transposed": (lambda x: x.mT.relu().mT * x.mT.std() + x.mT.var(correction=0, dim=None), (X,)),
    "norm of all, transposed": (lambda x: x.mT.relu().mT * x.mT.norm(), (X,)),
    "average of uneven regions": (lambda x: F.adaptive_avg_pool2d(x, (4, 7)), (PLANE,)),
}


ORDINARY = {
    torch.ops.aten.add.Tensor,
    torch.ops.aten.sub.Tensor,
    torch.ops.aten.rsub.Scalar,
    torch.ops.aten.argmax.default,
    torch.ops.aten.argmin.default,
    torch.ops.aten.clamp.default,
    torch.ops.aten.div.Tensor,
    torch.ops.aten.max_pool1d.default,
    torch.ops.aten.max_pool2d.default,
    torch.ops.aten.max_pool2d_with_indices.default,
    torch.ops.aten.max_pool3d.default,
    torch.ops.aten.pad.default,
    torch.ops.aten.softplus.default,
    torch.ops.aten.sum.dim_IntList,
    torch.ops.aten.amax.default,
    torch.ops.aten.amin.default,
    torch.ops.aten.var.correction,
    torch.ops.aten.std.correction,
    torch.ops.aten.linalg_vector_norm.default,
}
"""Operators that rewrites are made of, with arguments that coremltools reads."""


def rewritten(*cases: tuple[Callable[..., Tensor], tuple[Tensor, ...]]) -> ExportedProgram:
    return legalize(captured(Of(*cases), *(value for _, own in cases for value in own)))


def operators(program: ExportedProgram) -> set[Any]:
    return {node.target for node in program.graph.nodes if node.op == "call_function"}


def wide(values: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
    return tuple(value.double() if value.is_floating_point() else value for value in values)


@pytest.fixture(scope="module")
def in_float64() -> dict[str, Tensor]:
    """What the rewritten program gives for each case, all captured together."""
    cases = [(function, wide(own)) for function, own in CASES.values()]
    program = rewritten(*cases)
    assert operators(program) & {*REWRITES, *EXPANDED} <= ORDINARY
    given = program.module()(*(value for _, own in cases for value in own))
    return dict(zip(CASES, given, strict=True))


@pytest.mark.parametrize("name", CASES)
def test_the_rewritten_program_is_the_same_function(in_float64: dict[str, Tensor], name: str) -> None:
    function, inputs = CASES[name]
    expected = function(*wide(inputs))
    torch.testing.assert_close(in_float64[name], expected, rtol=1e-12, atol=1e-12, check_dtype=False)


def saved(folder: Path, *cases: tuple[Callable[..., Tensor], tuple[Tensor, ...]]) -> list[np.ndarray]:
    """What the executor makes of the converted cases, without rounding."""
    inputs = [value for _, own in cases for value in own]
    names = tuple(f"x{at}" for at in range(len(inputs)))
    outputs = tuple(f"y{at}" for at in range(len(cases)))
    program, target = captured(Of(*cases), *inputs), folder / "cases.mlpackage"
    request = Request(precision="float32", deployment_target="iOS17")
    to_coreml.convert(program, target, request, {}, input_names=names, output_names=outputs, export_id="")
    feed = {name: value.numpy() for name, value in zip(names, inputs, strict=True)}
    given = mil.load(target).predict(feed, mode="exact", allow_nan=True)
    return [given[name] for name in outputs]


def assert_same(given: np.ndarray, expected: Tensor) -> None:
    """Core ML has no tensor of rank 0: a single number is a vector of one."""
    assert given.size == expected.numel()
    np.testing.assert_allclose(given.reshape(expected.shape), expected.numpy(), rtol=1e-5, atol=1e-5)


@pytest.fixture(scope="module")
def in_package(tmp_path_factory: pytest.TempPathFactory) -> dict[str, np.ndarray]:
    return dict(zip(CASES, saved(tmp_path_factory.mktemp("package"), *CASES.values()), strict=True))


@pytest.mark.parametrize("name", CASES)
def test_the_saved_package_is_the_same_function(in_package: dict[str, np.ndarray], name: str) -> None:
    function, inputs = CASES[name]
    assert_same(in_package[name], function(*inputs))


def test_coremltools_alone_drops_alpha(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The comparison above can say no: without its rewrite, a case fails."""
    function, inputs = CASES["add, alpha"]
    assert_same(saved(tmp_path, (function, inputs))[0], function(*inputs))
    monkeypatch.delitem(REWRITES, torch.ops.aten.add.Tensor)
    with pytest.raises(AssertionError, match="Not equal to tolerance"):
        assert_same(saved(tmp_path, (function, inputs))[0], function(*inputs))


@pytest.mark.parametrize(
    ("operator", "function"),
    [
        (torch.ops.aten.gelu.default, F.gelu),
        (torch.ops.aten.softplus.default, F.softplus),
        (torch.ops.aten.argmax.default, lambda x: x.argmax(1)),
        (torch.ops.aten.group_norm.default, lambda x: F.group_norm(x, 2)),
        (torch.ops.aten.upsample_nearest2d.vec, resized(scale_factor=2, mode="nearest")),
        (torch.ops.aten.upsample_bilinear2d.vec, resized(size=(18, 14), mode="bilinear")),
        (torch.ops.aten.div.Tensor_mode, lambda x: torch.div(x, 2.0, rounding_mode="floor")),
        (torch.ops.aten.div.Tensor_mode, lambda x: torch.div(x, 1.0, rounding_mode="trunc")),
    ],
)
def test_what_comes_through_right_is_left_alone(operator: Any, function: Callable[..., Tensor]) -> None:
    assert operator in operators(rewritten((function, (PLANE,))))
