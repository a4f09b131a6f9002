"""Recurrent layers (MIL: `recurrent`). `x` is (S, B, I), states are (B, H); weights are (gates * H, I or H).

The result is the sequence (S, B, H), or its last element as (1, B, H) unless `output_sequence`, and the last state. A
layer in direction "reverse" returns its sequence in the order of processing, as Core ML's own tests expect.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from .operator import Table

Activation = Callable[[Tensor], Tensor]
States = tuple[Tensor, ...]


def _hard(x: Tensor) -> Tensor:
    return (0.2 * x + 0.5).clamp(0, 1)


def _linear(x: Tensor) -> Tensor:
    return x


ACTIVATIONS: dict[str, Activation] = {
    "relu": torch.relu,
    "tanh": torch.tanh,
    "sigmoid": torch.sigmoid,
    "sigmoid_hard": _hard,
    "hard_sigmoid": _hard,
    "linear": _linear,
    "scaled_tanh": torch.tanh,
}


def activation_named(name: str) -> Activation:
    """The gate function; raises ValueError for one that MIL does not know."""
    if name not in ACTIVATIONS:
        raise ValueError(f"unknown activation {name!r}; known: {', '.join(ACTIVATIONS)}")
    return ACTIVATIONS[name]


def rnn(
    x: Tensor,
    initial_h: Tensor,
    weight_ih: Tensor,
    weight_hh: Tensor,
    bias: Tensor | None = None,
    direction: str = "forward",
    output_sequence: bool = False,
    activation: str = "tanh",
) -> list[Tensor]:
    """h = f(x W_ih' + h W_hh' + b)."""
    f = activation_named(activation)
    shift = 0 if bias is None else bias

    def step(now: Tensor, state: States) -> States:
        return (f(now @ weight_ih.T + state[0] @ weight_hh.T + shift),)

    return _one_way(x, (initial_h,), step, direction, output_sequence)


def gru(
    x: Tensor,
    initial_h: Tensor,
    weight_ih: Tensor,
    weight_hh: Tensor,
    bias: Tensor | None = None,
    direction: str = "forward",
    output_sequence: bool = False,
    recurrent_activation: str = "sigmoid",
    activation: str = "tanh",
    reset_after: bool = False,
    input_bias: Tensor | None = None,
) -> list[Tensor]:
    """Gated recurrent unit (Cho et al., arXiv 1406.1078); gates in the order reset, output, update.

    The reset gate meets the state before the product with W_hh, or after it with `reset_after`.
    """
    f, g = activation_named(recurrent_activation), activation_named(activation)
    size = weight_hh.shape[1]
    none = x.new_zeros(3 * size)
    (ir, io, iz), (hr, ho, hz) = weight_ih.split(size), weight_hh.split(size)
    br, bo, bz = (none if bias is None else bias).split(size)
    ibr, ibo, ibz = (none if input_bias is None else input_bias).split(size)

    def step(now: Tensor, state: States) -> States:
        (h,) = state
        r = f(now @ ir.T + ibr + h @ hr.T + br)
        z = f(now @ iz.T + ibz + h @ hz.T + bz)
        inner = r * (h @ ho.T + bo) if reset_after else (r * h) @ ho.T + bo
        o = g(now @ io.T + ibo + inner)
        return ((1 - z) * o + z * h,)

    return _one_way(x, (initial_h,), step, direction, output_sequence)


def lstm(
    x: Tensor,
    initial_h: Tensor,
    initial_c: Tensor,
    weight_ih: Tensor,
    weight_hh: Tensor,
    bias: Tensor | None = None,
    peephole: Tensor | None = None,
    weight_ih_back: Tensor | None = None,
    weight_hh_back: Tensor | None = None,
    bias_back: Tensor | None = None,
    peephole_back: Tensor | None = None,
    direction: str = "forward",
    output_sequence: bool = False,
    recurrent_activation: str = "sigmoid",
    cell_activation: str = "tanh",
    activation: str = "tanh",
    clip: float | None = None,
) -> list[Tensor]:
    """Long short-term memory (Hochreiter & Schmidhuber 1997); gates in the order input, forget, output, cell.

    `peephole` (3H) lets the gates see the cell (Gers et al. 2002), `clip` bounds the cell. Bidirectional layers take
    states (B, 2H) and join both directions along the last axis.
    """
    gates = tuple(activation_named(a) for a in (recurrent_activation, cell_activation, activation))

    def run(weights: tuple[Tensor | None, ...], h: Tensor, c: Tensor, way: str) -> list[Tensor]:
        return _one_way(x, (h, c), _lstm_step(weights, gates, clip), way, output_sequence)

    forward = (weight_ih, weight_hh, bias, peephole)
    if direction != "bidirectional":
        return run(forward, initial_h, initial_c, direction)
    backward = (weight_ih_back, weight_hh_back, bias_back, peephole_back)
    size = weight_hh.shape[1]
    first = run(forward, initial_h[:, :size], initial_c[:, :size], "forward")
    second = run(backward, initial_h[:, size:], initial_c[:, size:], "reverse")
    second[0] = second[0].flip(0)
    return [torch.cat(pair, -1) for pair in zip(first, second, strict=True)]


def _lstm_step(
    weights: tuple[Tensor | None, ...], gates: tuple[Activation, ...], clip: float | None
) -> Callable[[Tensor, States], States]:
    """The function (input at t, (h, c)) → (h, c)."""
    w_ih, w_hh, bias, peephole = weights
    if w_ih is None or w_hh is None:
        raise ValueError("a bidirectional lstm needs weight_ih_back and weight_hh_back")
    recurrent, cell, output = gates
    zero = w_hh.new_zeros(())
    peep = (zero, zero, zero) if peephole is None else peephole.split(w_hh.shape[1])
    shift = zero if bias is None else bias

    def step(now: Tensor, state: States) -> States:
        h, c = state
        i, f, o, z = (now @ w_ih.T + h @ w_hh.T + shift).chunk(4, -1)
        i, f = recurrent(i + peep[0] * c), recurrent(f + peep[1] * c)
        c = f * c + i * cell(z)
        if clip is not None:
            c = c.clamp(-clip, clip)
        return recurrent(o + peep[2] * c) * output(c), c

    return step


def _one_way(
    x: Tensor, state: States, step: Callable[[Tensor, States], States], direction: str, sequence: bool
) -> list[Tensor]:
    """All steps of one direction: the sequence in order of processing (or its last element), then the last states."""
    if direction not in ("forward", "reverse"):
        raise ValueError(f"unknown direction {direction!r}; known: forward, reverse")
    outputs = []
    for now in x.unbind(0) if direction == "forward" else reversed(x.unbind(0)):
        state = step(now, state)
        outputs.append(state[0])
    return [torch.stack(outputs) if sequence else state[0][None], *state]


COMPUTED: Table = {"rnn": rnn, "gru": gru, "lstm": lstm}
MOVED: Table = {}
