"""The memory that a contestant takes, in a process of its own: the measuring process holds all contestants at once.

The new process imports the libraries and notes what it holds; then it loads the contestant, calls it, and tells how
high its resident memory rose above that. On Linux the peak is reset in between; elsewhere the peak of the imports
counts as what it held, so that a contestant smaller than it reads as nothing.
"""

from __future__ import annotations

import multiprocessing
import re
import sys
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from pathlib import Path

from ..artifact import NotRun, in_one_line
from ..backends import BACKENDS
from ..given import Given
from ..quiet import quiet
from ..threads import torch_threads
from .contestants import Contestant, Ready, feed, open_contestant
from .profile_report import Memory

CALLS = 3
STATUS, CLEAR = Path("/proc/self/status"), Path("/proc/self/clear_refs")


def memory(contestant: Contestant, *, threads: int, batch: int, seed: int) -> Memory | NotRun:
    """The contestant's peak, measured in a new process; NotRun with what that process died of."""
    return _alone(_peak, contestant.name, contestant.given, contestant.backend.name, threads, batch, seed)


def _alone(work: Callable[..., Memory | NotRun], *given: object) -> Memory | NotRun:
    """What a function says in a process of its own."""
    with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as pool:
        try:
            return pool.submit(work, *given).result()
        except BrokenProcessPool:
            return NotRun("its process was killed, most likely for want of memory")
        except Exception as error:  # whatever an engine raises in there
            return NotRun(f"it failed in its own process: {in_one_line(error)}")


def _peak(name: str, given: Given, backend: str, threads: int, batch: int, seed: int) -> Memory | NotRun:
    """Runs in the new process."""
    contestant = Contestant(name, given, next(known for known in BACKENDS if known.name == backend))
    if reason := contestant.backend.missing():
        return NotRun(reason)
    with torch_threads(threads):
        before, method = _forget_peak()
        ready = open_contestant(contestant, threads)
        if not isinstance(ready, Ready):
            return ready
        loaded = _peak_bytes()
        inputs = feed(ready.opened.inputs, batch, seed)
        if isinstance(inputs, NotRun):
            return inputs
        with quiet("torch"):
            for _ in range(CALLS):
                ready.opened.run(inputs)
        return Memory(max(0, loaded - before), max(0, _peak_bytes() - before), before, method)


def _forget_peak() -> tuple[int, str]:
    """Bytes that the process holds now, from which the peak is counted anew, and how the peak is read."""
    try:
        CLEAR.write_text("5")
    except OSError:
        return _peak_bytes(), "getrusage, over the peak of importing"
    return _peak_bytes(), "VmHWM, reset before loading"


def _peak_bytes() -> int:
    try:
        found = re.search(r"^VmHWM:\s*(\d+) kB", STATUS.read_text(), re.MULTILINE)
    except OSError:
        found = None
    if found:
        return int(found[1]) * 1024
    import resource  # not on Windows, where a contestant's memory is thus not measured

    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit
