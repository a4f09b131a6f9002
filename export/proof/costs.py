"""What a precision must cost: the answers of the model rounded to it, in each of the ways that files are run.

Each is a forward of the whole model, or several, and a check needs one or two of them, so they are made when they are
first asked for.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping

from ..saved.engines import Rounds
from ..subject import Values

Key = tuple[str, Rounds]
"""A precision, and what is rounded to it."""

Makers = Mapping[Key, Callable[[], Values]]


class Costs(Mapping[Key, Values]):
    """(precision, what is rounded to it) → the answers, which `makers` know how to make; made once."""

    def __init__(self, makers: Makers) -> None:
        self._makers = dict(makers)
        self._made: dict[Key, Values] = {}

    def __getitem__(self, key: Key) -> Values:
        if key not in self._made:
            self._made[key] = self._makers[key]()
        return self._made[key]

    def __iter__(self) -> Iterator[Key]:
        return iter(self._makers)

    def __len__(self) -> int:
        return len(self._makers)

    def __contains__(self, key: object) -> bool:
        return key in self._makers

    def settle(self) -> None:
        """Make all that are not made yet."""
        for key in self:
            self[key]

    def with_others(self, makers: Makers) -> Costs:
        """The same but for those of `makers`; what was made of the rest is kept."""
        other = Costs({**self._makers, **makers})
        other._made = {key: made for key, made in self._made.items() if key not in makers}
        return other
