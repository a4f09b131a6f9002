"""What can go wrong, as one line each: every error of this folder is a `MilError`, which is a `ValueError`."""

from __future__ import annotations

LONGEST = 600
"""Characters of a message; names in a damaged file can be of any length."""


class MilError(ValueError):
    """Base of all errors of `fuseport.mil`; the message is one line made for the user."""

    def __init__(self, message: str) -> None:
        line = "".join(c if c.isprintable() else repr(c)[1:-1] for c in message)
        super().__init__(line if len(line) <= LONGEST else f"{line[:LONGEST]}…")


class PackageError(MilError):
    """The file is damaged, of a kind that is not an ML Program, or newer than this reader."""


class UnsupportedOperator(MilError):
    """The program uses an operator, or a form of one, that has no implementation here."""


class InputError(MilError):
    """An input of a prediction has the wrong name, shape, type or content."""


class ExecutionError(MilError):
    """An operator failed, or computed something other than what the program declares."""
