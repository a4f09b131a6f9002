"""Checkpoints: the state dict is found in every container, its names freed of wrappers."""

from __future__ import annotations

import argparse
from pathlib import Path

import pytest
import torch
from fuseport.models.checkpoint import Checkpoint, read
from fuseport.models.weights_file import CheckpointError
from safetensors.torch import save_file
from torch import nn

PLAIN = {"stem.weight": torch.full((2, 3), 1.0), "stem.bias": torch.full((2,), 2.0), "head.bias": torch.ones(4)}
AVERAGED = {name: tensor + 10 for name, tensor in PLAIN.items()}


def _read(tmp_path: Path, content: object, *, key: str | None = None) -> Checkpoint:
    torch.save(content, tmp_path / "weights.pth")
    return read(tmp_path / "weights.pth", key=key)


def _refusal(tmp_path: Path, content: object, *, key: str | None = None) -> str:
    with pytest.raises(CheckpointError) as caught:
        _read(tmp_path, content, key=key)
    assert str(caught.value).startswith(f"{tmp_path / 'weights.pth'}: ")
    assert "\n" not in str(caught.value)
    return str(caught.value)


def _assert_plain(checkpoint: Checkpoint, expected: dict[str, torch.Tensor] = PLAIN) -> None:
    assert checkpoint.tensors.keys() == expected.keys()
    for name, tensor in expected.items():
        assert torch.equal(checkpoint.tensors[name], tensor), name


def test_bare_state_dicts(tmp_path: Path) -> None:
    checkpoint = _read(tmp_path, PLAIN)
    _assert_plain(checkpoint)
    assert (checkpoint.key, checkpoint.prefix, checkpoint.other_keys, checkpoint.left_out) == ("", "", (), 0)
    save_file(PLAIN, tmp_path / "weights.safetensors")
    checkpoint = read(str(tmp_path / "weights.safetensors"))
    _assert_plain(checkpoint)
    assert checkpoint.format == "safetensors"


@pytest.mark.parametrize("key", ["model", "state_dict", "state_dict_ema", "model_ema", "net", "weights"])
def test_any_key_that_holds_the_only_state_dict(tmp_path: Path, key: str) -> None:
    checkpoint = _read(tmp_path, {"epoch": 3, key: PLAIN, "best": torch.tensor(0.5)})
    _assert_plain(checkpoint)
    assert checkpoint.key == key


def test_training_checkpoints(tmp_path: Path) -> None:
    module = nn.Linear(3, 2)
    optimizer = torch.optim.AdamW(module.parameters())
    module(torch.ones(1, 3)).sum().backward()
    optimizer.step()
    content = {
        "model": PLAIN,
        "model_ema": {f"module.{name}": tensor for name, tensor in AVERAGED.items()},
        "optimizer": optimizer.state_dict(),
        "lr_scheduler": {"base_lr": 0.1},
        "scaler": {},
        "args": argparse.Namespace(model="shvit_s1", output_dir=Path("out")),
        "epoch": 299,
    }
    checkpoint = _read(tmp_path, content)
    _assert_plain(checkpoint)
    assert checkpoint.key == "model"
    assert checkpoint.other_keys == ("model_ema",)
    averaged = _read(tmp_path, content, key="model_ema")
    _assert_plain(averaged, AVERAGED)
    assert averaged.prefix == "module."


def test_order_of_keys(tmp_path: Path) -> None:
    assert _read(tmp_path, {"state_dict": PLAIN, "state_dict_ema": AVERAGED}).key == "state_dict_ema"
    assert _read(tmp_path, {"model_ema": AVERAGED, "model": PLAIN}).key == "model"
    message = _refusal(tmp_path, {"teacher": PLAIN, "student": AVERAGED})
    assert "several state dicts (student, teacher)" in message
    assert "--checkpoint-key" in message
    assert _read(tmp_path, {"teacher": PLAIN, "student": AVERAGED}, key="teacher").key == "teacher"


def test_nested_keys(tmp_path: Path) -> None:
    checkpoint = _read(tmp_path, {"state": {"ema": AVERAGED, "step": 1}})
    _assert_plain(checkpoint, AVERAGED)
    assert checkpoint.key == "state.ema"


def test_unknown_key(tmp_path: Path) -> None:
    message = _refusal(tmp_path, {"model": PLAIN, "model_ema": AVERAGED, "optimizer": {}}, key="optimizer")
    assert "no state dict under 'optimizer'; it holds model, model_ema" in message
    assert "has no state dict under 'model'; it holds" not in _refusal(tmp_path, PLAIN, key="model")
    assert "bare state dict" in _refusal(tmp_path, PLAIN, key="model")


@pytest.mark.parametrize("content", [{}, {"epoch": 3}, [torch.ones(3)], torch.ones(3), {"model": {"epoch": 3}}, None])
def test_files_without_a_state_dict(tmp_path: Path, content: object) -> None:
    assert "no state dict" in _refusal(tmp_path, content)


@pytest.mark.parametrize(
    "prefix",
    ["module.", "_orig_mod.", "backbone.", "model.", "module._orig_mod.", "_orig_mod.module.", "module.module."],
)
def test_prefixes(tmp_path: Path, prefix: str) -> None:
    checkpoint = _read(tmp_path, {prefix + name: tensor for name, tensor in PLAIN.items()})
    _assert_plain(checkpoint)
    assert checkpoint.prefix == prefix


def test_wrappers_inside_names(tmp_path: Path) -> None:
    _assert_plain(_read(tmp_path, {name.replace(".", "._orig_mod."): tensor for name, tensor in PLAIN.items()}))
    clash = {"stem.weight": torch.ones(1), "stem._orig_mod.weight": torch.ones(1), "bias": torch.ones(1)}
    assert "equal" in _refusal(tmp_path, clash)


def test_what_is_not_under_the_prefix_is_left_out_and_counted(tmp_path: Path) -> None:
    detector = {f"backbone.{name}": tensor for name, tensor in PLAIN.items()} | {"bbox_head.weight": torch.ones(9)}
    checkpoint = _read(tmp_path, {"state_dict": detector, "meta": {"epoch": 12}})
    _assert_plain(checkpoint)
    assert (checkpoint.prefix, checkpoint.left_out) == ("backbone.", 1)
    average = {"n_averaged": torch.tensor(5), **{f"module.{name}": tensor for name, tensor in PLAIN.items()}}
    assert _read(tmp_path, average).left_out == 1


def test_a_name_that_merely_starts_alike_stays(tmp_path: Path) -> None:
    names = {"module_list.0.weight": torch.ones(1), "backbone_proj.weight": torch.ones(1)}
    assert _read(tmp_path, names).tensors.keys() == names.keys()


@pytest.mark.parametrize(
    ("tensor", "says"),
    [
        (torch.eye(3).to_sparse(), "sparse"),
        (torch.ones(3, dtype=torch.complex64), "complex"),
        (torch.empty(3, device="meta"), "has no data"),
        (torch.ones(1).expand(10**9, 1000), "repeats its memory"),
    ],
)
def test_tensors_that_are_no_weights(tmp_path: Path, tensor: torch.Tensor, says: str) -> None:
    message = _refusal(tmp_path, {**PLAIN, "odd": tensor})
    assert says in message
    assert "'odd'" in message
