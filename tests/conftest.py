"""Fixtures that several test files share."""

import gc

from exported import exported, exported_report
from tiny import tiny

__all__ = ["exported", "exported_report", "tiny"]


def pytest_collection_finish() -> None:
    """Keep what the imports made out of garbage collections: coremltools makes one per conversion, 0.2 s each."""
    gc.collect()
    gc.freeze()
