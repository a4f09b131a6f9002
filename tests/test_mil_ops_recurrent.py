"""Recurrent layers against PyTorch's, gates reordered to MIL's."""

from __future__ import annotations

import pytest
import torch
from fuseport.mil.ops import recurrent

S, B, I, H = 5, 2, 3, 4
X = torch.randn(S, B, I, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
ZERO = torch.zeros(B, H, dtype=torch.float64)


def close(found: torch.Tensor, expected: torch.Tensor) -> None:
    torch.testing.assert_close(found, expected, rtol=1e-12, atol=1e-12)


def gates(weight: torch.Tensor, order: tuple[int, ...]) -> torch.Tensor:
    """PyTorch's blocks of H rows in MIL's order."""
    return torch.cat([weight.detach().split(H)[i] for i in order])


@pytest.mark.parametrize("activation", ["tanh", "relu"])
def test_rnn(activation: str) -> None:
    torch.manual_seed(0)
    layer = torch.nn.RNN(I, H, nonlinearity=activation).double()
    expected, last = layer(X)
    bias = (layer.bias_ih_l0 + layer.bias_hh_l0).detach()
    weights = (layer.weight_ih_l0.detach(), layer.weight_hh_l0.detach(), bias)
    y, h = recurrent.rnn(X, ZERO, *weights, output_sequence=True, activation=activation)
    close(y, expected.detach())
    close(h, last[0].detach())
    y, _ = recurrent.rnn(X, ZERO, *weights, activation=activation)
    close(y, expected[-1:].detach())
    backwards, _ = recurrent.rnn(X.flip(0), ZERO, *weights, "reverse", True, activation)
    close(backwards, expected.detach())


def test_gru_with_the_reset_gate_after_the_product() -> None:
    torch.manual_seed(0)
    layer = torch.nn.GRU(I, H).double()
    expected, last = layer(X)
    order = (0, 2, 1)
    y, h = recurrent.gru(
        X,
        ZERO,
        gates(layer.weight_ih_l0, order),
        gates(layer.weight_hh_l0, order),
        gates(layer.bias_hh_l0, order),
        output_sequence=True,
        reset_after=True,
        input_bias=gates(layer.bias_ih_l0, order),
    )
    close(y, expected.detach())
    close(h, last[0].detach())


def test_gru_with_the_reset_gate_before_the_product() -> None:
    """One step by the formula."""
    generator = torch.Generator().manual_seed(1)
    w, u = torch.randn(3 * H, I, generator=generator).double(), torch.randn(3 * H, H, generator=generator).double()
    h0, b = torch.randn(B, H, generator=generator).double(), torch.randn(3 * H, generator=generator).double()
    (wr, wo, wz), (ur, uo, uz), (br, bo, bz) = w.split(H), u.split(H), b.split(H)
    r, z = (torch.sigmoid(X[0] @ a.T + h0 @ c.T + d) for a, c, d in ((wr, ur, br), (wz, uz, bz)))
    o = torch.tanh(X[0] @ wo.T + (r * h0) @ uo.T + bo)
    _, h = recurrent.gru(X[:1], h0, w, u, b)
    close(h, (1 - z) * o + z * h0)


def lstm_weights(layer: torch.nn.LSTM, suffix: str) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    order = (0, 1, 3, 2)
    bias = getattr(layer, f"bias_ih_l0{suffix}") + getattr(layer, f"bias_hh_l0{suffix}")
    pair = (gates(getattr(layer, f"weight_{k}_l0{suffix}"), order) for k in ("ih", "hh"))
    first, second = pair
    return first, second, gates(bias, order)


def test_lstm() -> None:
    torch.manual_seed(0)
    layer = torch.nn.LSTM(I, H).double()
    expected, (h1, c1) = layer(X)
    y, h, c = recurrent.lstm(X, ZERO, ZERO, *lstm_weights(layer, ""), output_sequence=True)
    close(y, expected.detach())
    close(h, h1[0].detach())
    close(c, c1[0].detach())


@pytest.mark.parametrize("sequence", [True, False])
def test_lstm_in_both_directions(sequence: bool) -> None:
    torch.manual_seed(0)
    layer = torch.nn.LSTM(I, H, bidirectional=True).double()
    expected, (h1, c1) = layer(X)
    w, u, b = lstm_weights(layer, "")
    wb, ub, bb = lstm_weights(layer, "_reverse")
    zeros = torch.zeros(B, 2 * H, dtype=torch.float64)
    y, h, c = recurrent.lstm(
        X, zeros, zeros, w, u, b, None, wb, ub, bb, direction="bidirectional", output_sequence=sequence
    )
    if sequence:
        close(y, expected.detach())
    else:
        close(y[0], h)
    close(h, torch.cat([h1[0], h1[1]], 1).detach())
    close(c, torch.cat([c1[0], c1[1]], 1).detach())


def test_lstm_with_peephole_and_clip() -> None:
    """One step by the formula."""
    generator = torch.Generator().manual_seed(1)
    shapes = ((4 * H, I), (4 * H, H), (3 * H,), (B, H), (B, H))
    w, u, p, h0, c0 = (torch.randn(*s, generator=generator).double() for s in shapes)
    i, f, o, z = (X[0] @ w.T + h0 @ u.T).chunk(4, -1)
    pi, pf, po = p.split(H)
    c1 = torch.sigmoid(f + pf * c0) * c0 + torch.sigmoid(i + pi * c0) * torch.tanh(z)
    clipped = c1.clamp(-0.4, 0.4)
    assert not torch.equal(c1, clipped)
    expected = torch.sigmoid(o + po * clipped) * torch.tanh(clipped)
    _, h, c = recurrent.lstm(X[:1], h0, c0, w, u, peephole=p, clip=0.4)
    close(h, expected)
    close(c, clipped)


def test_unknown_names_are_refused() -> None:
    weights = (torch.zeros(H, I), torch.zeros(H, H))
    with pytest.raises(ValueError, match="unknown activation 'mish'; known: relu"):
        recurrent.rnn(X.float(), ZERO.float(), *weights, activation="mish")
    with pytest.raises(ValueError, match="unknown direction 'sideways'"):
        recurrent.rnn(X.float(), ZERO.float(), *weights, direction="sideways")
    zeros = torch.zeros(B, 2 * H)
    with pytest.raises(ValueError, match="needs weight_ih_back"):
        recurrent.lstm(X.float(), zeros, zeros, torch.zeros(4 * H, I), torch.zeros(4 * H, H), direction="bidirectional")
