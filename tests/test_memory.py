"""Peak memory in a process of its own: it sees what a contestant takes, and survives one that dies."""

import os
from pathlib import Path

import pytest
from fuseport.export.artifact import NotRun
from fuseport.export.given import given
from fuseport.export.job import Source
from fuseport.export.profile import memory as home
from fuseport.export.profile.contestants import line_up
from fuseport.export.profile.memory import memory
from fuseport.export.profile.profile_report import Memory
from profile_samples import small_onnx

SOURCE = Source(variant="")


def test_the_peak_holds_the_work_of_the_contestant(tmp_path: Path):
    """The convolution of a 512 × 512 picture holds 4 channels of it: 4 MiB for every picture of the batch."""
    (contestant,) = line_up([given(str(small_onnx(tmp_path, side=512)), SOURCE)])
    found = memory(contestant, threads=1, batch=16, seed=0)
    assert isinstance(found, Memory)
    assert found.peak_bytes - found.load_bytes > 16 * 4 * 2**20
    assert found.peak_bytes < 2**30
    assert found.baseline_bytes > 50 * 2**20


@pytest.mark.skipif(not home.CLEAR.exists(), reason="the peak is reset on Linux only")
def test_a_peak_before_loading_does_not_count():
    before, method = home._forget_peak()
    block = bytearray(os.urandom(1)) * (64 * 2**20)
    assert home._peak_bytes() - before > 60 * 2**20
    del block
    after, _ = home._forget_peak()
    assert after - before < 30 * 2**20
    assert method == "VmHWM, reset before loading"


def test_without_the_system_s_help_the_older_peak_counts_and_says_so(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    monkeypatch.setattr(home, "CLEAR", tmp_path / "no folder" / "clear")
    monkeypatch.setattr(home, "STATUS", tmp_path / "status")
    held, method = home._forget_peak()
    assert held > 10 * 2**20
    assert method == "getrusage, over the peak of importing"


def test_a_process_that_dies_or_fails_is_told():
    assert home._alone(os._exit, 9) == NotRun("its process was killed, most likely for want of memory")
    failed = home._alone(int, "not a number")  # pyright: ignore[reportArgumentType]
    assert isinstance(failed, NotRun)
    assert failed.reason.startswith("it failed in its own process: ")
    assert "\n" not in failed.reason
