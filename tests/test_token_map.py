"""Layers over tokens, done on the map: which are, with what; and what keeps the tokens."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from fuseport.reparam import capture, token_map
from graphs import folded, operators, ready
from torch import Tensor, nn
from torch.nn import functional as F


class Tokens(nn.Module):
    """A formula on the tokens of a map (2, 4, 3, 5), and back; it gets two linear layers and a vector."""

    def __init__(self, formula: Callable[..., Tensor]) -> None:
        super().__init__()
        self.formula = formula
        self.one, self.two, self.c = nn.Linear(4, 6), nn.Linear(6, 4, bias=False), nn.Parameter(torch.empty(6))

    def forward(self, x: Tensor) -> Tensor:
        tokens = x.flatten(2).transpose(1, 2)
        made = self.formula(tokens, self.one, self.two, self.c)
        return made.transpose(1, 2).reshape(2, -1, 3, 5) + x.mean(1, keepdim=True)


X = torch.randn(2, 4, 3, 5, generator=torch.Generator().manual_seed(0))
TAKEN: dict[str, Callable[..., Tensor]] = {
    "layers": lambda t, one, two, c: two(F.gelu(one(t), approximate="tanh")),
    "a vector": lambda t, one, two, c: two((c - one(t)).relu()),
    "norm of the queries": lambda t, one, two, c: two(F.normalize(one(t), dim=-1)),
    "global query": lambda t, one, two, c: ((q := one(t)).sum(1, keepdim=True) * q.sigmoid() + 1.5) / 2,
    "a mean over both": lambda t, one, two, c: torch.add(q := one(t), q.mean((1, 2), keepdim=True), alpha=3).relu(),
    "two uses": lambda t, one, two, c: (two(one(t).relu()) + t).relu() * t,
}
KEPT: dict[str, Callable[..., Tensor]] = {
    "no layer": lambda t, one, two, c: t.sigmoid(),
    "softmax over the positions": lambda t, one, two, c: one(t).softmax(1),
    "a matrix product": lambda t, one, two, c: (q := one(t)) @ q.transpose(1, 2) @ q,
    "layer norm": lambda t, one, two, c: two(F.layer_norm(one(t), (6,))),
    "a sum that drops its axis": lambda t, one, two, c: (q := one(t)) * q.sum(2)[..., None],
    "a value per position": lambda t, one, two, c: one(t) * torch.arange(15.0)[:, None],
    "shifted positions": lambda t, one, two, c: one(t).roll(1, 1),
    "integer quotient": lambda t, one, two, c: torch.div(one(t), 2, rounding_mode="floor"),
}


@pytest.mark.parametrize("name", TAKEN)
def test_it_is_done_on_the_map(name: str) -> None:
    result = folded(Tokens(TAKEN[name]), X)
    made = operators(result)
    assert "linear" not in made
    assert made["conv2d"] >= 1
    assert not {"transpose", "permute", "reshape", "flatten"} & set(made)


@pytest.mark.parametrize("name", KEPT)
def test_what_has_no_form_on_the_map_keeps_the_tokens(name: str) -> None:
    captured = capture(ready(Tokens(KEPT[name])), (X,))
    assert not list(token_map.find(captured))


def test_tokens_that_stay_tokens_or_become_another_map_are_left_alone() -> None:
    class Other(nn.Module):
        def __init__(self, *, back: bool) -> None:
            super().__init__()
            self.layer, self.back = nn.Linear(4, 4), back

        def forward(self, x: Tensor) -> Tensor:
            made = self.layer(x.flatten(2).transpose(1, 2))
            return made.transpose(1, 2).reshape(2, 4, 5, 3) if self.back else made

    for back in (True, False):
        assert not list(token_map.find(capture(ready(Other(back=back)), (X,))))


def test_a_shared_weight_stays() -> None:
    class Shared(Tokens):
        def forward(self, x: Tensor) -> Tensor:
            return super().forward(x) + self.one.weight.sum()

    assert not list(token_map.find(capture(ready(Shared(TAKEN["layers"])), (X,))))
