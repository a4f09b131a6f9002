"""The fixture `assert_parity` for pytest, there in every project that has fuseport installed.

    def test_the_phone_computes_the_same(assert_parity, model):
        assert_parity(model, "build/model.mlpackage")

pytest loads this file at every start, by its entry point: it imports nothing but pytest, and torch only when a test
asks for the fixture. Outside pytest, and in helpers, import `fuseport.export.assertion.assert_parity` itself.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from .recheck.recheck import CheckReport


@pytest.fixture(name="assert_parity", scope="session")
def assert_parity_fixture() -> Callable[..., CheckReport]:
    """`fuseport.export.assertion.assert_parity`."""
    from .assertion import assert_parity

    return assert_parity
