"""How much of the model a passed check has seen: the tensors whose corruption some output would have shown.

A check of outputs is blind to a weight that does not reach them. In a freshly initialised network whole branches are
silenced by zero norm weights and 1e-5 layer scales; an artifact could hold noise there and still agree to the last bit.
So for every tensor the relative change of the outputs under a gross corruption is estimated (where it comes from is the
caller's business), and held against the bound of the check: a change within the bound would have passed.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

NAMED = 4
"""Blind tensors that a sentence names; the rest are counted."""


@dataclass(frozen=True)
class Coverage:
    """What a check with this `bound` (relative L2 of an output) can see of the model's tensors."""

    seen: int
    total: int
    blind: tuple[str, ...]
    """Trainable tensors that could be wrong in every value without any output leaving the bound."""
    bound: float
    weakest: str | None
    """The seen tensor that moves the outputs least, and by how much."""
    weakest_change: float | None
    confirmed: int
    """Tensors whose figure was confirmed by running the corrupted model; the others are first-order estimates."""
    statistics_seen: int
    statistics_total: int
    statistics_blind: tuple[str, ...]
    """The same for tensors that are not trained: means and variances of norms."""

    @property
    def complete(self) -> bool:
        return not self.blind and not self.statistics_blind

    def describe(self) -> str:
        """What is covered, and what is not, in one line."""
        trainable = _told("trainable tensors", self.seen, self.total, self.blind)
        statistics = _told("norm statistics", self.statistics_seen, self.statistics_total, self.statistics_blind)
        how = f"corrupted, each moves an output by more than {self.bound:.1e}"
        parts = [f"{trainable} ({how})"] + ([statistics] if self.statistics_total else [])
        return "the check sees " + "; ".join(parts)


def coverage(
    changes: Mapping[str, float], bound: float, *, statistics: Mapping[str, float] | None = None, confirmed: int = 0
) -> Coverage:
    """The share of tensors that a check with this `bound` sees.

    `changes` holds, for every trainable tensor, the relative L2 change of the output that moves most when every value
    of that tensor is off by 100 %; `statistics` the same for tensors that are not trained; `confirmed` of them were
    measured. A change that is not a number is not seen. Raises a ValueError if there is no tensor, or for a bound that
    is not positive.
    """
    if not changes:
        raise ValueError("the model has no trainable tensor, so there is nothing that a check could cover")
    if not bound > 0:
        raise ValueError(f"expected a bound above 0, got {bound}")
    others = statistics or {}
    blind, unseen = (tuple(name for name, change in some.items() if not change > bound) for some in (changes, others))
    visible = {name: change for name, change in changes.items() if change > bound}
    weakest = min(visible, key=lambda name: visible[name], default=None)
    return Coverage(
        seen=len(visible),
        total=len(changes),
        blind=blind,
        bound=bound,
        weakest=weakest,
        weakest_change=None if weakest is None else visible[weakest],
        confirmed=confirmed,
        statistics_seen=len(others) - len(unseen),
        statistics_total=len(others),
        statistics_blind=unseen,
    )


def _told(what: str, seen: int, total: int, blind: tuple[str, ...]) -> str:
    """'all 156 trainable tensors', '97 of 156 trainable tensors, not a.weight, b.weight and 57 more'."""
    if not blind:
        return f"all {total} {what}"
    shown = ", ".join(blind[:NAMED]) + (f" and {len(blind) - NAMED} more" if len(blind) > NAMED else "")
    return f"{seen} of {total} {what}, not {shown}"
