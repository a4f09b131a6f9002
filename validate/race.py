"""Who is faster, if that can be said: a winner only where the intervals of the medians do not meet.

Two medians whose intervals overlap may change places in another run, and then nobody is called faster. Where the
samples of a runner spread widely the machine was busy with something else, and intervals that come from such samples
are not to be trusted either: the verdict is then `unreliable`, whatever the medians say.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from .latency import UNSTEADY, Latency

Outcome = Literal["winner", "no winner", "unreliable", "nothing to compare"]

BASELINE, FASTER, SLOWER = "the first", "faster than the first", "slower than the first"
SAME, UNRELIABLE = "no difference shown", "unreliable"


@dataclass(frozen=True)
class Standing:
    """A runner beside the first: its median over the first's, and what of the difference is shown."""

    ratio: float
    versus: str
    """One of BASELINE, FASTER, SLOWER, SAME, UNRELIABLE."""


@dataclass(frozen=True)
class Verdict:
    """Of a whole comparison; `winner` is a name where `outcome` is "winner"."""

    outcome: Outcome
    winner: str | None
    reason: str


def standings(latencies: Mapping[str, Latency]) -> dict[str, Standing]:
    """Every runner beside the first one of the mapping."""
    first = next(iter(latencies.values()), None)
    return {name: _standing(taken, first) for name, taken in latencies.items()} if first else {}


def verdict(latencies: Mapping[str, Latency]) -> Verdict:
    """The winner of a comparison, or why there is none."""
    if len(latencies) < 2:
        return Verdict("nothing to compare", None, "one runner alone is no comparison" if latencies else "nothing ran")
    restless = {name: taken for name, taken in latencies.items() if taken.unsteady}
    if restless:
        name, worst = max(restless.items(), key=lambda pair: pair[1].spread)
        return Verdict(
            "unreliable",
            None,
            f"half of the samples of {name} spread over {worst.spread:.0%} of its median, more than {UNSTEADY:.0%}: "
            "measure again on a quiet machine",
        )
    ranked = sorted(latencies, key=lambda name: latencies[name].median_ms)
    fastest, rest = latencies[ranked[0]], ranked[1:]
    level = [name for name in rest if latencies[name].low_ms <= fastest.high_ms]
    confidence = f"{fastest.confidence:.0%} intervals of the medians"
    if level:
        return Verdict("no winner", None, f"the {confidence} of {ranked[0]} and {', '.join(level)} overlap")
    return Verdict("winner", ranked[0], f"the {confidence} are apart; {_lead(fastest, latencies[rest[0]], rest[0])}")


def _lead(fastest: Latency, second: Latency, name: str) -> str:
    return f"{second.median_ms / fastest.median_ms:.2f} × as fast as {name}" if fastest.median_ms else f"before {name}"


def _standing(taken: Latency, first: Latency) -> Standing:
    ratio = taken.median_ms / first.median_ms if first.median_ms else float("inf")
    if taken is first:
        return Standing(1.0, BASELINE)
    if taken.unsteady or first.unsteady:
        return Standing(ratio, UNRELIABLE)
    if taken.high_ms < first.low_ms:
        return Standing(ratio, FASTER)
    return Standing(ratio, SLOWER if taken.low_ms > first.high_ms else SAME)
