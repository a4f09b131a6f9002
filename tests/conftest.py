"""Fixtures that several test files share."""

from exported import exported
from tiny import tiny

__all__ = ["exported", "tiny"]
