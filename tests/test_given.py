"""What a user names: files by their ending, models by name with options of their own, and what is neither."""

from pathlib import Path

import pytest
from fuseport.export.given import NotGiven, given
from fuseport.export.job import Source

SHARED = Source(variant="", model_args={"features": True, "r": 1}, seed=3)


def test_a_model_has_the_shared_options_with_its_own_on_top():
    found = given("tome_vit_l16_in1k:r=20,preset=a", SHARED)
    assert (found.kind, found.name) == ("model", "tome_vit_l16_in1k:r=20,preset=a")
    assert (found.model.variant, found.model.seed) == ("tome_vit_l16_in1k", 3)
    assert found.model.model_args == {"features": True, "r": 20, "preset": "a"}
    assert given("shvit_s1", SHARED).model.model_args == SHARED.model_args


def test_files_are_known_by_their_ending(tmp_path: Path):
    (tmp_path / "a.onnx").write_bytes(b"x")
    (tmp_path / "b.mlpackage").mkdir()
    (tmp_path / "b.mlpackage" / "Manifest.json").write_text("{}")
    for name, kind in (("a.onnx", "onnx"), ("b.mlpackage", "coreml")):
        found = given(str(tmp_path / name), SHARED)
        assert (found.kind, found.name, found.file) == (kind, name, tmp_path / name)


@pytest.mark.parametrize(
    ("name", "told"),
    [
        ("missing.onnx", "does not exist; expected an exported file"),
        ("empty.onnx", "is empty"),
        ("folder.onnx", "is a folder; expected a file"),
        ("file.mlpackage", "is a file; expected a folder"),
        ("notes.txt", "is not an artifact: expected a file that ends in .onnx, .mlpackage"),
    ],
)
def test_what_is_neither_is_refused_in_one_line(name: str, told: str, tmp_path: Path):
    (tmp_path / "empty.onnx").touch()
    (tmp_path / "folder.onnx").mkdir()
    for file in ("file.mlpackage", "notes.txt"):
        (tmp_path / file).write_text("text")
    with pytest.raises(NotGiven, match=told) as raised:
        given(str(tmp_path / name), SHARED)
    assert len(str(raised.value).splitlines()) == 1
