"""How much a contestant has to compute and to move in a call, and how far from this machine's roofline its time is.

The counts are those of `fuseport cost`: of a file as it lies there, of a model as its authors define it or, for the
folded one, folded. Weights are moved once per call however large the batch is. Engines that fuse operators move less
than what is counted, and can therefore come out above the roofline where moving is the limit.
"""

from __future__ import annotations

from ...validate.latency import Latency
from ...validate.roofline import Distance, Roofline, distance
from ..artifact import NotRun, in_one_line
from ..cost import cost
from .contestants import Contestant
from .profile_report import Work


def work_of(contestant: Contestant, batch: int) -> Work | NotRun:
    """Of one call at this batch; NotRun where it cannot be counted."""
    count = contestant.backend.count
    try:
        total = count(contestant.given) if count else cost(contestant.given).total
    except Exception as error:  # whatever capture or a file has to say must not cost the measurement
        return NotRun(f"not counted: {error if isinstance(error, ValueError) else in_one_line(error)}")
    return Work(total.macs * batch, total.weight_bytes, total.activation_bytes * batch)


def under(roofline: Roofline, work: Work | NotRun, latency: Latency | NotRun) -> Distance | NotRun:
    """Where the median call of this latency is under the roofline."""
    if isinstance(work, NotRun):
        return work
    if isinstance(latency, NotRun):
        return latency
    moved = work.weight_bytes + work.activation_bytes
    if not (work.macs or moved) or latency.median_ms <= 0:
        return NotRun("it computes nothing that is counted")
    return distance(roofline, flops=2.0 * work.macs, moved=float(moved), milliseconds=latency.median_ms)
