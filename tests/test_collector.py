"""The garbage collector is off within the block, and afterwards as it was before."""

from __future__ import annotations

import gc
from collections.abc import Iterator

import pytest
from fuseport.validate.collector import collector_paused


@pytest.fixture(autouse=True)
def restored() -> Iterator[None]:
    """Whatever a test does to the collector is undone."""
    before = gc.isenabled()
    yield
    (gc.enable if before else gc.disable)()


@pytest.mark.parametrize("on", [True, False])
def test_it_is_off_within_and_as_it_was_afterwards(on: bool) -> None:
    (gc.enable if on else gc.disable)()
    with collector_paused():
        assert not gc.isenabled()
    assert gc.isenabled() == on


def _fail() -> None:
    with collector_paused():
        raise KeyError


def test_it_is_on_again_after_an_error() -> None:
    gc.enable()
    with pytest.raises(KeyError):
        _fail()
    assert gc.isenabled()
