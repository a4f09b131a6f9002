"""The id of an export follows from its content; names and sizes of a program; hashes of what lies on the disk."""

from __future__ import annotations

import hashlib
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from fuseport.export.artifact import (
    NotConverted,
    TensorSpec,
    check_batch,
    export_id,
    in_one_line,
    program_inputs,
    program_outputs,
    sha256_on_disk,
)
from fuseport.export.request import BatchRange, Request
from programs import Net, TwoInTwoOut, captured, net
from torch import Tensor, nn

IMAGE = torch.zeros(1, 3, 8, 8)


def test_equal_content_has_an_equal_id() -> None:
    assert export_id(net(), Request()) == export_id(net(), Request())
    assert len(export_id(net(), Request())) == 16


def test_the_id_changes_with_a_weight_the_graph_and_the_options() -> None:
    module = Net()
    module.head.bias.data[0] += 1e-6
    deeper = nn.Sequential(Net(), nn.ReLU())
    ids = [
        export_id(net(), Request()),
        export_id(captured(module, IMAGE), Request()),
        export_id(captured(deeper, IMAGE), Request()),
        export_id(net(), Request(precision="float32")),
        export_id(net(), Request(labels=("a", "b", "c", "d", "e"))),
    ]
    assert len(set(ids)) == len(ids)


def test_the_id_sees_constants_that_are_no_parameters() -> None:
    class Shifted(nn.Module):
        def __init__(self, shift: float) -> None:
            super().__init__()
            self.register_buffer("shift", torch.tensor(shift), persistent=False)

        def forward(self, x: Tensor) -> Tensor:
            return x + self.shift

    assert export_id(captured(Shifted(1), IMAGE), Request()) != export_id(captured(Shifted(2), IMAGE), Request())


def test_inputs_and_outputs_under_the_names_asked_for() -> None:
    program = captured(TwoInTwoOut(), torch.zeros(2, 3, 8, 8), torch.zeros(2, 5), open_batch=True)
    assert program_inputs(program, ("image", "offset")) == (
        TensorSpec("image", ("batch", 3, 8, 8), "float32"),
        TensorSpec("offset", ("batch", 5), "float32"),
    )
    assert program_outputs(program, ("logits", "features")) == (
        TensorSpec("logits", ("batch", 5), "float32"),
        TensorSpec("features", ("batch", 6), "float32"),
    )


@pytest.mark.parametrize("names", [(), ("a",), ("a", "b", "c"), ("a", "a")])
def test_names_that_do_not_fit(names: tuple[str, ...]) -> None:
    program = captured(TwoInTwoOut(), IMAGE, torch.zeros(1, 5))
    with pytest.raises(NotConverted, match="expected 2 different input names, but got"):
        program_inputs(program, names)


def test_an_output_that_is_no_tensor() -> None:
    class Counted(nn.Module):
        def forward(self, x: Tensor) -> tuple[Tensor, int]:
            return x.relu(), 3

    with pytest.raises(NotConverted, match="expected a tensor for each output, but the model has a constant"):
        program_outputs(captured(Counted(), IMAGE), ("y", "n"))


def test_only_the_batch_may_be_open() -> None:
    sizes = {0: torch.export.Dim("batch", min=1, max=8), 2: torch.export.Dim("height", min=4, max=64)}
    program = torch.export.export(nn.ReLU(), (torch.zeros(2, 3, 8, 8),), dynamic_shapes=(sizes,))
    with pytest.raises(NotConverted, match="only the batch may be open, but the captured model has the open sizes"):
        program_inputs(program, ("image",))


def test_the_batch_asked_for_is_the_one_captured() -> None:
    check_batch(net(), Request())
    check_batch(net(open_batch=True), Request(batch=BatchRange(1, 8)))
    with pytest.raises(NotConverted, match="asked for open batch, but the model was captured with fixed batch"):
        check_batch(net(), Request(batch=BatchRange(1, 8)))
    with pytest.raises(NotConverted, match="asked for fixed batch, but the model was captured with open batch"):
        check_batch(net(open_batch=True), Request())


def test_the_hash_of_a_file_is_that_of_its_bytes(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"content")
    assert sha256_on_disk(tmp_path / "a") == hashlib.sha256(b"content").hexdigest()


def test_the_hash_of_a_folder_sees_names_and_contents(tmp_path: Path) -> None:
    hashes = set()
    for name, content in (("x", b"1"), ("y", b"1"), ("x", b"2")):
        folder = tmp_path / f"{name}{content.decode()}" / "package"
        (folder / "deep").mkdir(parents=True)
        (folder / "deep" / name).write_bytes(content)
        hashes.add(sha256_on_disk(folder))
    assert len(hashes) == 3


def test_the_root_of_a_long_winded_error() -> None:
    root = KeyError("\n  what it was about\nand a lot more")
    outer = RuntimeError("step 3 failed\n" * 9)
    outer.__cause__ = root
    assert in_one_line(ValueError("first line\nsecond")) == "first line"
    assert "\n" not in in_one_line(outer)
    assert in_one_line(ValueError()) == "ValueError"
    assert len(in_one_line(ValueError("x" * 999))) == 300


def test_a_request_is_part_of_the_id_whatever_its_order_of_fields() -> None:
    request = Request(opset=20, simplify=False)
    assert export_id(net(), request) == export_id(net(), replace(Request(simplify=False), opset=20))
