"""Fixtures that several test files share."""

from tiny import tiny

__all__ = ["tiny"]
