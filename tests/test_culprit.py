"""The line that an exception is blamed on: the model's, not PyTorch's and not ours."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from fuseport.models import find
from fuseport.reparam.culprit import culprit, short
from torch import nn
from torchvision.ops import box_convert


class Narrow(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.head = nn.Linear(4, 2)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.head(x.flatten(1))


def _blamed(module: nn.Module, x: torch.Tensor, behind: str = __file__ + "none") -> str:
    try:
        module(x)
    except (RuntimeError, ValueError) as error:
        return culprit(error, behind=behind)
    raise AssertionError("expected the model to fail")


def test_the_line_of_the_model_with_its_source() -> None:
    line = next(at for at, text in enumerate(Path(__file__).read_text().splitlines(), 1) if "self.head(x" in text)
    assert _blamed(Narrow(), torch.zeros(1, 9)).endswith(f"test_culprit.py:{line}: `return self.head(x.flatten(1))`")


def test_torchvision_is_not_torch() -> None:
    class Boxes(nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return box_convert(x, "neither", "nor")

    assert ", in torchvision/ops/boxes.py:" in _blamed(Boxes(), torch.zeros(1, 4))


def test_a_line_of_our_own_models_is_theirs() -> None:
    module = find("shvit_s1").build(num_classes=2, in_chans=3).eval()
    assert "`raise ValueError" in _blamed(module, torch.zeros(1, 4, 64, 64), behind=__file__)


def test_the_cause_is_looked_through_and_nothing_is_made_up() -> None:
    def fail() -> None:
        try:
            Narrow()(torch.zeros(1, 9))
        except RuntimeError as error:
            raise ValueError("wrapped") from error

    with pytest.raises(ValueError, match="wrapped") as caught:
        fail()
    assert "self.head(x.flatten(1))" in culprit(caught.value)
    assert culprit(ValueError("never raised")) == ""


def test_paths_without_the_folders_of_this_machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert short(str(tmp_path / "nets" / "net.py")) == "nets/net.py"
    assert short("/e/lib/site-packages/timm/layers/mlp.py") == "timm/layers/mlp.py"
    assert short("/home/u/work/net.py") == "work/net.py"
