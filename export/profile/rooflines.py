"""The roofline of this machine, measured with PyTorch: its matrix product is the best that there is at hand."""

from __future__ import annotations

import torch

from ...validate.machine import machine
from ...validate.roofline import Roofline, measure_roofline
from ..threads import torch_threads

SIDE = 1024
"""Of the square matrices: 2 × SIDE³ operations, large enough to reach the full rate, over in milliseconds."""
LEAST_COPY = 64 * 2**20


def roofline(threads: int, *, seconds: float = 3.0) -> Roofline:
    """Float32 operations and bytes per second of this machine on so many threads. Nothing is kept from run to run."""
    left, right, product = torch.randn(SIDE, SIDE), torch.randn(SIDE, SIDE), torch.empty(SIDE, SIDE)
    size = max(LEAST_COPY, 4 * (machine().cache_bytes or 0))
    source, target = torch.ones(size // 4), torch.empty(size // 4)
    with torch_threads(threads), torch.inference_mode():
        return measure_roofline(
            lambda: torch.mm(left, right, out=product),
            2.0 * SIDE**3,
            lambda: target.copy_(source),
            2.0 * source.numel() * 4,
            threads=threads,
            method=(
                f"best of the calls in {seconds:g} s: torch.mm of float32 {SIDE}×{SIDE}, copy of "
                f"{size / 2**20:.0f} MiB (reading and writing counted)"
            ),
            seconds=seconds,
        )
