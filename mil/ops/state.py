"""State that outlives a prediction (MIL, from iOS18 on). A State is replaced, never changed in place."""

from __future__ import annotations

from torch import Tensor

from .operator import State, Table


def read_state(input: State) -> Tensor:
    """The tensor that the state holds now."""
    return input.value


def write_state(input: State, data: Tensor) -> list[Tensor]:
    """Let the state hold `data`; there is no result."""
    input.value = data
    return []


COMPUTED: Table = {}
MOVED: Table = {"read_state": read_state, "write_state": write_state}
