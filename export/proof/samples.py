"""Run a model in PyTorch a few samples at a time, as its file takes them."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from numpy.typing import NDArray
from torch import Tensor

from ...validate.parity import predict


def answers(run: Callable[..., Sequence[Tensor]], inputs: Sequence[Tensor], size: int = 1) -> list[NDArray]:
    """All that `run` gives for the inputs, joined along the first axis, when it is handed `size` samples at a time.

    The last group is filled up with its last sample, whose answers are cut off.
    """

    def runner(feed: dict[str, NDArray]) -> dict[str, NDArray]:
        found = run(*map(torch.from_numpy, feed.values()))
        return {str(number): value.numpy() for number, value in enumerate(found)}

    with torch.no_grad():
        fed = {str(number): value.numpy() for number, value in enumerate(inputs)}
        return list(predict(runner, fed, batch=size).values())
