"""Mapped weights take no memory until they are read, and read as they were; small and shared ones too."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from fuseport.export import mapped as file
from fuseport.export.mapped import Mapped, mapped
from torch import nn

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="maps on Linux only")

MIB = 2**20


@pytest.fixture(autouse=True)
def light(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every model is a heavy one here, and this process keeps its allocator."""
    monkeypatch.setattr(file, "HEAVY_BYTES", 1)
    monkeypatch.setattr(file, "_free_at_once", lambda: None)


def network() -> nn.Sequential:
    """48 MiB of weights in three layers."""
    torch.manual_seed(0)
    return nn.Sequential(*(nn.Linear(2048, 2048) for _ in range(3)))


def resident() -> int:
    """Bytes of this process in memory now."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * 4096


def test_weights_are_in_memory_only_while_they_are_read(tmp_path: Path) -> None:
    module = network()
    before = {name: value.double().sum() for name, value in module.state_dict().items()}
    held = resident()
    with mapped(tmp_path, module) as weights:
        idle = resident()
        assert held - idle > 40 * MIB
        assert all(value.double().sum() == before[name] for name, value in module.state_dict().items())
        assert resident() - idle > 40 * MIB, "they were read"
        weights.let_go()
        assert resident() - idle < 8 * MIB
    assert all(value.double().sum() == before[name] for name, value in module.state_dict().items()), "also afterwards"
    assert list(tmp_path.iterdir()) == []


def test_tensors_that_share_memory_go_on_sharing(tmp_path: Path) -> None:
    first, second = nn.Linear(2048, 2048, bias=False), nn.Linear(2048, 1024, bias=False)
    second.weight = nn.Parameter(first.weight.detach()[:1024])
    kept = second.weight.detach().clone()
    with mapped(tmp_path, nn.Sequential(first, second)):
        assert torch.equal(second.weight, kept)
        assert first.weight.data_ptr() == second.weight.data_ptr()
        assert isinstance(first.weight, nn.Parameter)


def test_what_is_made_of_them_moves_too_and_the_rest_is_let_go_of(tmp_path: Path) -> None:
    module = network()
    with mapped(tmp_path, module) as weights:
        made = module[0].get_parameter("weight").detach().t().contiguous() * 2
        wanted, held = made.double().sum(), resident()
        made = weights.moved(made)
        assert held - resident() > 12 * MIB, "the weight that was read"
        assert made.double().sum() == wanted
        small = torch.ones(3)
        assert weights.moved(small) is small


def test_a_strided_weight_keeps_its_order(tmp_path: Path) -> None:
    turned = torch.randn(1024, 2048).t()
    with mapped(tmp_path, nn.Linear(2, 2)) as weights:
        moved = weights.moved(turned)
    assert torch.equal(moved, turned)
    assert moved.stride() == turned.stride()


def test_a_full_disk_leaves_the_weights_in_memory() -> None:
    class Full:
        """A file that takes no byte."""

        def seek(self, offset: int, whence: int = 0) -> int:
            return 0

        def write(self, _: memoryview) -> int:
            raise OSError(28, "No space left on device")

    module = network()
    place = module[2].get_parameter("weight").data_ptr()
    weights = Mapped(Full())  # pyright: ignore[reportArgumentType]
    weights.move(module)
    assert module[2].get_parameter("weight").data_ptr() == place
    kept = torch.ones(MIB)
    assert weights.moved(kept) is kept


def test_a_light_model_is_left_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(file, "HEAVY_BYTES", 2**30)
    module = network()
    place = module[0].get_parameter("weight").data_ptr()
    with mapped(tmp_path, module) as weights:
        weights.let_go()
        assert module[0].get_parameter("weight").data_ptr() == place
        made = torch.ones(MIB)
        assert weights.moved(made) is made


FREED = """
import torch
from fuseport.export import mapped
from test_mapped import MIB, resident

mapped._free_at_once()
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
