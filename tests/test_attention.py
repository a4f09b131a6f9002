"""Attention said in products computes what PyTorch's does, and converts where PyTorch's own does not."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from fuseport.export.artifact import Artifact, NotConverted
from fuseport.export.formats import to_onnx
from fuseport.export.lowering.attention import attention, expand_attention
from fuseport.export.request import Request
from programs import NAMES, captured
from torch import Tensor, nn


def drawn(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


SEEN = torch.tensor([[True, False, True], [False, False, False]])
CASES: dict[str, tuple[tuple[int, ...], dict[str, Any]]] = {
    "plain": ((2, 4), {}),
    "one matrix": ((), {}),
    "windows": ((2, 3, 4), {}),
    "scale": ((2, 4), {"scale": 0.3}),
    "mask": ((2, 4), {"attn_mask": drawn(1, 4, 2, 3)}),
    "mask of booleans, one row of which sees nothing": ((2, 4), {"attn_mask": SEEN}),
    "causal": ((2, 4), {"is_causal": True}),
}


@pytest.mark.parametrize("name", CASES)
def test_it_is_pytorchs_attention(name: str) -> None:
    lead, named = CASES[name]
    q, k, v = drawn(*lead, 2, 8), drawn(*lead, 3, 8, seed=1), drawn(*lead, 3, 5, seed=2)
    torch.testing.assert_close(attention(q, k, v, **named), F.scaled_dot_product_attention(q, k, v, **named))


def test_heads_may_share_keys_and_values() -> None:
    q, k, v = drawn(1, 6, 2, 8), drawn(1, 2, 3, 8, seed=1), drawn(1, 2, 3, 8, seed=2)
    expected = F.scaled_dot_product_attention(q, k, v, enable_gqa=True)
    torch.testing.assert_close(attention(q, k, v, enable_gqa=True), expected)


class Attending(nn.Module):
    """Self-attention of tokens (…, 5, 2 · 4), with a bias of positions if asked for, reshaped behind it as usual."""

    def __init__(self, *, masked: bool) -> None:
        super().__init__()
        self.bias = nn.Parameter(drawn(2, 5, 5).float()) if masked else None

    def forward(self, x: Tensor) -> Tensor:
        heads = x.unflatten(-1, (2, 4)).transpose(-2, -3)
        mixed = F.scaled_dot_product_attention(heads, heads, heads, self.bias)
        return mixed.transpose(-2, -3).reshape(x.shape)


def written(folder: Path, module: nn.Module, x: Tensor, opset: int | None = None) -> Artifact:
    program = captured(module, x)
    artifact = to_onnx.convert(program, folder / "a.onnx", Request(opset=opset), {}, **NAMES)
    given = to_onnx.runner(artifact)({"image": x.numpy()})["logits"]
    np.testing.assert_allclose(given, module(x).detach().numpy(), rtol=1e-5, atol=1e-6)
    return artifact


@pytest.mark.parametrize("shape", [(1, 5, 8), (1, 3, 5, 8)], ids=["rank 3", "windows"])
@pytest.mark.parametrize("masked", [False, True])
def test_it_becomes_onnx(tmp_path: Path, shape: tuple[int, ...], masked: bool) -> None:
    made = written(tmp_path, Attending(masked=masked), drawn(*shape).float())
    assert (made.operations["MatMul"], made.operations["Softmax"]) == (2, 1)
    assert set(made.operations) <= {"Add", "MatMul", "Mul", "Reshape", "Softmax", "Transpose"}


def test_torch_alone_cannot_write_windows(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("fuseport.export.lowering.attention.expand_attention", lambda program, **_: program)
    with pytest.raises(NotConverted, match="only 4D query, key, and value are supported"):
        written(tmp_path, Attending(masked=False), drawn(1, 3, 5, 8).float())


def test_an_opset_that_has_attention_keeps_it(tmp_path: Path) -> None:
    made = written(tmp_path, Attending(masked=False), drawn(1, 5, 8).float(), opset=23)
    assert made.operations["Attention"] == 1
    assert "Softmax" not in made.operations


def test_a_program_without_attention_is_the_same_object() -> None:
    program = captured(nn.Linear(2, 2), torch.zeros(1, 2))
    assert expand_attention(program) is program
