"""Weights files: what is opened, and the line that names everything else."""

from __future__ import annotations

import hashlib
import json
import random
import struct
import zipfile
from pathlib import Path

import pytest
import torch
from fuseport.models.weights_file import CheckpointError, open_weights
from safetensors.torch import save_file
from torch import nn

WEIGHTS = {"conv.weight": torch.arange(36.0).reshape(4, 1, 3, 3), "conv.bias": torch.linspace(-1, 1, 4)}


def _save(path: Path, kind: str = "torch zip", content: object = WEIGHTS) -> Path:
    if kind == "safetensors":
        save_file(content, path)  # pyright: ignore[reportArgumentType]
    else:
        torch.save(content, path, _use_new_zipfile_serialization=kind == "torch zip")
    return path


def _refusal(path: Path) -> str:
    """The one line that opening the file is answered with, without the path it starts with."""
    with pytest.raises(CheckpointError) as caught:
        open_weights(path)
    message = str(caught.value)
    assert message.startswith(f"{path}: ")
    assert "\n" not in message
    return message.removeprefix(f"{path}: ")


@pytest.mark.parametrize("kind", ["torch zip", "torch legacy", "safetensors"])
@pytest.mark.parametrize("suffix", [".pth", ".pt", ".bin", ".ckpt", ".tar", ""])
def test_content_decides_the_format_not_the_name(tmp_path: Path, kind: str, suffix: str) -> None:
    path = _save(tmp_path / f"weights{suffix}", kind)
    file = open_weights(path)
    assert file.format == kind
    assert file.sha256 == hashlib.sha256(path.read_bytes()).hexdigest()
    assert isinstance(file.content, dict)
    for name, tensor in WEIGHTS.items():
        assert torch.equal(file.content[name], tensor)


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b"", "empty"),
        (b"<!DOCTYPE html>\n<html><body>404: Not Found</body></html>", "a web page"),
        (b"\xef\xbb\xbf\r\n  <html>sign in</html>", "a web page"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 25\n", "git lfs pull"),
        (json.dumps({"error": "Repository not found"}).encode(), "JSON"),
        (b"\x08\x0a\x12\x07pytorch", "an ONNX model"),
        (b"\x1f\x8b\x08\x00rest", "gzip"),
        (b"\x89HDF\r\n\x1a\n", "HDF5"),
        (bytes(4096), "all zeros"),
        (bytes(257) + b"ustar  " + bytes(300), "a tar archive"),
        (b"Rar!\x1a\x07\x01\x00", "not a weights file"),
    ],
)
def test_mistaken_files_are_named_for_what_they_are(tmp_path: Path, content: bytes, says: str) -> None:
    path = tmp_path / "weights.pth"
    path.write_bytes(content)
    assert says in _refusal(path)


def test_missing_files_folders_and_packages(tmp_path: Path) -> None:
    (tmp_path / "model.mlpackage").mkdir()
    assert "no such file" in _refusal(tmp_path / "nothing.pth")
    assert "Core ML package" in _refusal(tmp_path / "model.mlpackage")
    assert "a folder" in _refusal(tmp_path)
    assert "not a regular file" in _refusal(Path("/dev/null"))


def test_torchscript_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "scripted.pt"
    with zipfile.ZipFile(path, "w") as archive:  # the records that tell it apart; torch.jit itself is deprecated
        archive.writestr("scripted/data.pkl", b"")
        archive.writestr("scripted/constants.pkl", b"")
    assert "TorchScript" in _refusal(path)


@pytest.mark.parametrize(("record", "says"), [("weights.pth", "not one of torch.save"), ("Manifest.json", "Core ML")])
def test_other_archives_are_refused(tmp_path: Path, record: str, says: str) -> None:
    path = tmp_path / "weights.zip"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr(record, b"something")
    assert says in _refusal(path)


def test_compressed_records_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "weights.pth"
    with (
        zipfile.ZipFile(_save(tmp_path / "plain.pth")) as source,
        zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as to,
    ):
        for name in source.namelist():
            to.writestr(name, source.read(name))
    assert "torch.save did not write" in _refusal(path)


def test_a_pickle_named_safetensors_is_refused(tmp_path: Path) -> None:
    assert "named .safetensors" in _refusal(_save(tmp_path / "weights.safetensors"))


@pytest.mark.parametrize("kind", ["torch zip", "torch legacy", "safetensors"])
@pytest.mark.parametrize("keep", [0.3, 0.9, 0.999])
def test_truncated_files(tmp_path: Path, kind: str, keep: float) -> None:
    path = _save(tmp_path / "weights.pth", kind)
    whole = path.read_bytes()
    path.write_bytes(whole[: int(keep * len(whole))])
    assert "cut short" in _refusal(path)


def test_a_flipped_bit_in_a_weight_is_found(tmp_path: Path) -> None:
    path = _save(tmp_path / "weights.pth")
    raw = bytearray(path.read_bytes())
    raw[raw.index(struct.pack("<4f", 4, 5, 6, 7))] ^= 0x20
    path.write_bytes(raw)
    assert torch.load(path, weights_only=True)["conv.weight"][0, 0, 1, 1] != 4  # torch itself does not see it
    assert "checksum" in _refusal(path)


def test_an_archive_written_without_checksums_is_read(tmp_path: Path) -> None:
    torch.serialization.set_crc32_options(False)
    try:
        path = _save(tmp_path / "weights.pth")
    finally:
        torch.serialization.set_crc32_options(True)
    assert isinstance(open_weights(path).content, dict)


@pytest.mark.parametrize("kind", ["torch zip", "torch legacy", "safetensors"])
def test_fuzzed_files_load_or_are_refused(tmp_path: Path, kind: str) -> None:
    """Cut or flipped anywhere, a file is refused in one line, or the archive's checksums prove what was loaded."""
    generator = random.Random(0)
    whole = _save(tmp_path / "good.pth", kind, nn.Conv2d(3, 4, 3).state_dict()).read_bytes()
    expected = open_weights(tmp_path / "good.pth").content
    assert isinstance(expected, dict)
    path = tmp_path / "weights.pth"
    refusals: list[str] = []
    for position in generator.sample(range(len(whole)), 50):
        flipped = bytearray(whole)
        flipped[position] ^= 1 << generator.randrange(8)
        for damaged in (whole[:position], bytes(flipped)):
            path.write_bytes(damaged)
            try:
                content = open_weights(path).content
            except CheckpointError as error:
                refusals.append(str(error))
                continue
            assert len(damaged) == len(whole), "a truncated file was loaded"
            if kind == "torch zip":
                assert isinstance(content, dict)
                assert all(torch.equal(content[name], tensor) for name, tensor in expected.items())
    assert len(refusals) >= 50, "the cut files at least"
    assert not any("\n" in refusal for refusal in refusals)


def test_messages_stay_one_line_whatever_names_a_file_holds() -> None:
    assert str(CheckpointError("a\nb\x1b[31mc")) == "a\N{REPLACEMENT CHARACTER}b\N{REPLACEMENT CHARACTER}[31mc"


def test_a_file_that_cannot_be_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_args: object) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(hashlib, "file_digest", fail)
    assert "cannot be read (Permission denied)" in _refusal(_save(tmp_path / "weights.pth"))
