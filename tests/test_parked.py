"""Parked weights take no memory and come back as they were; what is read meanwhile, small or shared stays."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from fuseport.export import parked as file
from fuseport.export.parked import parked
from torch import nn

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="parks on Linux only")

MIB = 2**20


@pytest.fixture(autouse=True)
def light(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every model is a heavy one here."""
    monkeypatch.setattr(file, "HEAVY_BYTES", 1)


def network() -> nn.Sequential:
    """48 MiB of weights in three layers."""
    torch.manual_seed(0)
    return nn.Sequential(*(nn.Linear(2048, 2048) for _ in range(3)))


def resident() -> int:
    """Bytes of this process in memory now."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * 4096


def test_the_memory_is_free_meanwhile_and_the_weights_are_back_afterwards(tmp_path: Path) -> None:
    module = network()
    before = {name: value.clone() for name, value in module.state_dict().items()}
    held = resident()
    with parked(tmp_path, [module]):
        assert held - resident() > 40 * MIB
        assert not module[0].get_parameter("weight")[1:-1].any()
        assert torch.equal(module[0].get_parameter("bias"), before["0.bias"]), "small ones are not worth it"
    assert all(torch.equal(value, before[name]) for name, value in module.state_dict().items())
    assert list(tmp_path.iterdir()) == []


def test_what_others_read_meanwhile_stays(tmp_path: Path) -> None:
    module, reader = network(), nn.Linear(2048, 2048)
    reader.weight = module[0].weight  # pyright: ignore[reportAttributeAccessIssue]
    program = torch.export.export(reader, (torch.zeros(1, 2048),))
    kept = module[0].get_parameter("weight").clone()
    with parked(tmp_path, [module], but=[program]):
        assert torch.equal(module[0].get_parameter("weight"), kept)
        assert not module[1].get_parameter("weight")[1:-1].any()


def test_weights_come_back_after_an_error_too(tmp_path: Path) -> None:
    module = network()
    kept = module[2].get_parameter("weight").clone()
    with pytest.raises(RuntimeError, match="converter"), parked(tmp_path, [module]):
        raise RuntimeError("the converter failed")
    assert torch.equal(module[2].get_parameter("weight"), kept)


def test_a_full_disk_leaves_the_weights_in_memory() -> None:
    module = network()
    kept = module[2].get_parameter("weight").clone()
    room = Path("/dev/shm")
    with pytest.MonkeyPatch.context() as patch:

        class Full:
            """A file that takes no byte."""

            def __enter__(self) -> Full:
                return self

            def __exit__(self, *_: object) -> None: ...
            def tell(self) -> int:
                return 0

            def seek(self, _: int) -> None: ...
            def write(self, _: memoryview) -> int:
                raise OSError(28, "No space left on device")

        patch.setattr(file.tempfile, "TemporaryFile", lambda **_: Full())
        with parked(room, [module]):
            assert torch.equal(module[2].get_parameter("weight"), kept)


def test_a_light_model_is_left_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(file, "HEAVY_BYTES", 2**30)
    module = network()
    kept = module[0].get_parameter("weight").clone()
    with parked(tmp_path, [module]):
        assert torch.equal(module[0].get_parameter("weight"), kept)


FREED = """
import torch
from fuseport.export import parked
from test_parked import MIB, network, resident

parked.HEAVY_BYTES = 1
parked.free_at_once(network())
blocks = [torch.ones(4 * MIB // 4) for _ in range(20)]
held = resident()
del blocks[:-1]
print((held - resident()) // MIB)
"""


def test_a_large_block_goes_back_when_it_is_freed() -> None:
    """Also where a later block lies behind it in the heap. In a process of its own, whose allocator it changes."""
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parent)}
    done = subprocess.run([sys.executable, "-c", FREED], env=environment, capture_output=True, text=True, check=False)
    assert int(done.stdout or -1) > 70, done.stderr
