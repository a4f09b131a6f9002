"""Fixtures that several test files share."""

import gc
import os

import pytest
import torch
from exported import exported, exported_report
from hypothesis import settings
from tiny import tiny

__all__ = ["exported", "exported_report", "tiny"]

settings.register_profile("same", derandomize=True)
settings.load_profile("same")  # a pull request fails for what it changed; --hypothesis-profile=default draws others


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--draws", type=int, default=0, help="seed of the random numbers that tests draw with torch")


def pytest_configure() -> None:
    """One thread: for models this small, threads on a busy machine wait for each other a hundred times as long."""
    torch.set_num_threads(1)
    os.environ.setdefault("OMP_NUM_THREADS", "1")


def pytest_collectstart(collector: pytest.Collector) -> None:
    """What a test file draws when it is imported is the same whichever files were imported before."""
    _draw_anew(collector)


def pytest_runtest_setup(item: pytest.Item) -> None:
    """What a test draws is the same whichever tests ran before; left alone, torch draws others in every run."""
    _draw_anew(item)


def _draw_anew(node: pytest.Item | pytest.Collector) -> None:
    torch.manual_seed(node.config.getoption("--draws"))


def pytest_collection_finish() -> None:
    """Keep what the imports made out of garbage collections: coremltools makes one per conversion, 0.2 s each."""
    gc.collect()
    gc.freeze()
