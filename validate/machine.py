"""The machine that a measurement was taken on, as far as it tells: part of every figure's conditions."""

from __future__ import annotations

import os
import platform
import re
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Machine:
    """What does not change during a run. `memory_bytes` and `cache_bytes` (the largest cache) are None if not told."""

    processor: str
    cores: int
    """Logical processors that this process may run on."""
    memory_bytes: int | None
    cache_bytes: int | None
    system: str
    python: str


def machine() -> Machine:
    """This machine."""
    memory = re.search(r"^MemTotal:\s*(\d+) kB", _text(Path("/proc/meminfo")), re.MULTILINE)
    return Machine(
        processor=processor(),
        cores=len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1,
        memory_bytes=int(memory[1]) * 1024 if memory else None,
        cache_bytes=_largest_cache(),
        system=f"{platform.system()} {platform.release()}, {platform.machine()}",
        python=platform.python_version(),
    )


def processor() -> str:
    """The name of this machine's processor, or its architecture where the system does not tell."""
    names = re.findall(r"^model name\s*:\s*(.+)$", _text(Path("/proc/cpuinfo")), re.MULTILINE)
    return f"CPU: {names[0] if names else platform.processor() or platform.machine()}"


def load_average() -> float | None:
    """Programs that wanted to run in the last minute, on average; with more than there are cores some had to wait."""
    try:
        return round(os.getloadavg()[0], 2)
    except (OSError, AttributeError):  # the system keeps none
        return None


def _largest_cache() -> int | None:
    sizes = [_text(file).strip() for file in Path("/sys/devices/system/cpu/cpu0/cache").glob("index*/size")]
    units = {"K": 1024, "M": 1024**2}
    return max((int(size[:-1]) * units[size[-1]] for size in sizes if size[-1:] in units), default=None)


def _text(path: Path) -> str:
    try:
        return path.read_text(errors="replace")
    except OSError:
        return ""
