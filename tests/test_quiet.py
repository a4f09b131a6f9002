"""Inside the block nothing is said; after it everything is as before."""

from __future__ import annotations

import io
import logging
import sys
import warnings

import pytest
from fuseport.export.quiet import quiet

LOGGER = logging.getLogger("fuseport_test_library")


def test_nothing_is_said_and_warnings_can_be_read(capfd: pytest.CaptureFixture[str]) -> None:
    from tqdm import tqdm

    with quiet(LOGGER.name) as held_back:
        LOGGER.getChild("part").error("never mind")
        warnings.warn("version not tested", stacklevel=1)
        for _ in tqdm(range(3), file=sys.stderr):
            pass
    assert capfd.readouterr() == ("", "")
    assert [str(warning.message) for warning in held_back] == ["version not tested"]


@pytest.mark.parametrize("error", [None, KeyboardInterrupt()], ids=["ends", "ctrl-c"])
def test_everything_is_as_before(error: BaseException | None) -> None:
    from tqdm import tqdm

    LOGGER.setLevel(logging.INFO)
    filters = list(warnings.filters)
    try:
        with quiet(LOGGER.name):
            if error:
                raise error
    except KeyboardInterrupt:
        pass
    assert LOGGER.level == logging.INFO
    assert warnings.filters == filters
    with pytest.warns(UserWarning, match="heard"):
        warnings.warn("heard", stacklevel=1)
    shown = io.StringIO()
    for _ in tqdm(range(3), file=shown):
        pass
    assert "3/3" in shown.getvalue()
