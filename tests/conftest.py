"""Fixtures that several test files share."""

import gc
import os

import torch
from exported import exported, exported_report
from tiny import tiny

__all__ = ["exported", "exported_report", "tiny"]


def pytest_configure() -> None:
    """One thread: for models this small, threads on a busy machine wait for each other a hundred times as long."""
    torch.set_num_threads(1)
    os.environ.setdefault("OMP_NUM_THREADS", "1")


def pytest_collectstart() -> None:
    """What a test file draws when it is imported is the same whichever files were imported before."""
    torch.manual_seed(0)


def pytest_runtest_setup() -> None:
    """What a test draws is the same whichever tests ran before; left alone, torch draws others in every run."""
    torch.manual_seed(0)


def pytest_collection_finish() -> None:
    """Keep what the imports made out of garbage collections: coremltools makes one per conversion, 0.2 s each."""
    gc.collect()
    gc.freeze()
