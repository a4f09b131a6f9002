"""The stages of a run: announced when they begin, timed when they end."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field


@dataclass(frozen=True)
class Stage:
    """One finished stage and its wall-clock time."""

    name: str
    seconds: float


@dataclass
class Stages:
    """The stages so far. `announce` is called with the name of each stage as it begins, `at_end` when it is over."""

    announce: Callable[[str], None] = lambda name: None
    at_end: Callable[[], None] = lambda: None
    done: list[Stage] = field(default_factory=list)

    @contextmanager
    def __call__(self, name: str) -> Iterator[None]:
        self.announce(name)
        begin = time.perf_counter()
        yield
        self.at_end()
        self.done.append(Stage(name, round(time.perf_counter() - begin, 4)))
