"""Values come in the order asked for, from one run, and from more only where too many would have to wait."""

from __future__ import annotations

from collections.abc import Collection, Iterator

import numpy as np
from fuseport.export.saved.points import Opened, Tensor, in_order
from numpy.typing import NDArray

TENSORS = [Tensor(name, "op", (2,), (), "") for name in "abcdef"]


class File:
    """Makes a value of 16 bytes for each letter of `makes`, in that order, and counts its runs."""

    def __init__(self, makes: str) -> None:
        self.makes, self.runs = makes, 0

    def stream(self, names: Collection[str]) -> Iterator[tuple[str, NDArray]]:
        self.runs += 1
        for name in self.makes:
            if name in names:
                yield name, np.full(2, float(ord(name)))

    def seen(self, limit: int) -> str:
        found = list(in_order(Opened(tuple(TENSORS), self.stream), TENSORS, limit))
        assert all(value[0] == ord(name) for name, value in found)
        return "".join(name for name, _ in found)


def test_one_run_gives_all_in_order() -> None:
    for makes in ("abcdef", "badcfe", "fedcba"):
        file = File(makes)
        assert file.seen(1000) == "abcdef"
        assert file.runs == 1


def test_what_cannot_wait_is_made_again() -> None:
    file = File("fedcba")
    assert file.seen(32) == "abcdef"
    assert file.runs == 2  # a with b and c, which wait; then d with e and f
    strict = File("fedcba")
    assert strict.seen(0) == "abcdef"
    assert strict.runs == 6


def test_what_the_file_does_not_give_is_left_out() -> None:
    assert File("badf").seen(1000) == "abdf"
    assert File("fdb").seen(0) == "bdf"
    assert File("").seen(0) == ""
