"""Converters talk: progress bars, version warnings, deprecations of their own. This holds their tongues for a while.

Nothing is changed for good: log levels, warning filters and tqdm are as before when the block ends, also after an
error. What matters to the user is raised as an exception or stored in the artifact, and the warnings that were held
back can be read from the list that the block is given.
"""

from __future__ import annotations

import logging
import warnings
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from functools import partialmethod


@contextmanager
def quiet(*loggers: str) -> Iterator[list[warnings.WarningMessage]]:
    """Silence warnings, tqdm bars and the named loggers (with their children) below CRITICAL inside the block."""
    with ExitStack() as stack:
        held_back = stack.enter_context(warnings.catch_warnings(record=True))
        warnings.simplefilter("always")
        for name in loggers:
            stack.enter_context(_level(logging.getLogger(name), logging.CRITICAL))
        stack.enter_context(_no_bars())
        yield held_back


@contextmanager
def _level(logger: logging.Logger, level: int) -> Iterator[None]:
    before = logger.level
    logger.setLevel(level)
    try:
        yield
    finally:
        logger.setLevel(before)


@contextmanager
def _no_bars() -> Iterator[None]:
    """Disable tqdm for a while: the libraries that use it pass no `disable`, and its variable is read at import."""
    try:
        from tqdm.std import tqdm
    except ImportError:
        yield
        return
    before = tqdm.__init__
    tqdm.__init__ = partialmethod(before, disable=True)  # pyright: ignore[reportAttributeAccessIssue]
    try:
        yield
    finally:
        tqdm.__init__ = before
