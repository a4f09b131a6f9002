"""A target is the old one or the complete new one, whatever goes wrong on the way."""

from __future__ import annotations

import errno
from pathlib import Path

import pytest
from fuseport.export.atomic import NotWritten, staging


def write(path: Path, text: str, *, folder: bool) -> None:
    """A file with `text`, or a folder with one such file in it."""
    if folder:
        path.mkdir()
        path = path / "inside"
    path.write_text(text)


def replace(*targets: Path, folder: bool, error: BaseException | None = None) -> None:
    """Write "new" for each target; with an error, stop at the end of the block."""
    with staging(*targets) as staged:
        for path in staged:
            write(path, "new", folder=folder)
        if error:
            raise error


def read(path: Path) -> str:
    return (path / "inside" if path.is_dir() else path).read_text()


@pytest.fixture(params=[False, True], ids=["file", "folder"])
def folder(request: pytest.FixtureRequest) -> bool:
    return request.param


def test_a_new_target_appears_when_the_block_ends(tmp_path: Path, folder: bool) -> None:
    with staging(tmp_path / "a") as (staged,):
        write(staged, "new", folder=folder)
        assert not (tmp_path / "a").exists()
    assert read(tmp_path / "a") == "new"
    assert [path.name for path in tmp_path.iterdir()] == ["a"]


def test_an_existing_target_is_replaced(tmp_path: Path, folder: bool) -> None:
    write(tmp_path / "a", "old", folder=folder)
    with staging(tmp_path / "a") as (staged,):
        write(staged, "new", folder=folder)
        assert read(tmp_path / "a") == "old"
    assert read(tmp_path / "a") == "new"
    assert [path.name for path in tmp_path.iterdir()] == ["a"]


@pytest.mark.parametrize("error", [RuntimeError("broken"), KeyboardInterrupt()], ids=["error", "ctrl-c"])
def test_a_block_that_fails_changes_nothing(tmp_path: Path, folder: bool, error: BaseException) -> None:
    write(tmp_path / "a", "old", folder=folder)
    with pytest.raises(type(error)):
        replace(tmp_path / "a", folder=folder, error=error)
    assert read(tmp_path / "a") == "old"
    assert [path.name for path in tmp_path.iterdir()] == ["a"]


def test_a_full_disk_is_one_line_and_changes_nothing(tmp_path: Path, folder: bool) -> None:
    write(tmp_path / "a", "old", folder=folder)
    with pytest.raises(NotWritten) as caught:
        replace(tmp_path / "a", folder=folder, error=OSError(errno.ENOSPC, "No space left on device"))
    assert str(caught.value).startswith(f"cannot write {tmp_path / 'a'}: No space left on device; nothing was changed")
    assert "\n" not in str(caught.value)
    assert read(tmp_path / "a") == "old"
    assert [path.name for path in tmp_path.iterdir()] == ["a"]


@pytest.mark.parametrize("fails_at", range(4))
@pytest.mark.parametrize("error", [OSError(errno.EACCES, "Permission denied"), KeyboardInterrupt()])
def test_an_exchange_that_stops_half_way_is_undone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fails_at: int, error: BaseException
) -> None:
    """Two folders take four renames, any of which may be the last that happens."""
    for name in ("a", "b"):
        write(tmp_path / name, f"old {name}", folder=True)
    honest, calls = Path.rename, []

    def rename(self: Path, target: Path) -> Path:
        calls.append(target)
        if len(calls) == fails_at + 1:
            raise error
        return honest(self, target)

    monkeypatch.setattr(Path, "rename", rename)
    with pytest.raises((NotWritten, KeyboardInterrupt)):
        replace(tmp_path / "a", tmp_path / "b", folder=True)
    assert {path.name: read(path) for path in tmp_path.iterdir()} == {"a": "old a", "b": "old b"}
    assert len(calls) > fails_at


def test_several_files_are_exchanged_together(tmp_path: Path) -> None:
    (tmp_path / "a").write_text("old a")
    with staging(tmp_path / "a", tmp_path / "b") as (a, b):
        a.write_text("new a")
        b.write_text("new b")
    assert {path.name: path.read_text() for path in tmp_path.iterdir()} == {"a": "new a", "b": "new b"}


def test_a_file_beside_the_target_goes_along(tmp_path: Path) -> None:
    with staging(tmp_path / "a.onnx") as (staged,):
        staged.write_text("graph")
        staged.with_name("a.onnx.data").write_text("weights")
    assert {path.name: path.read_text() for path in tmp_path.iterdir()} == {"a.onnx": "graph", "a.onnx.data": "weights"}


def test_a_target_that_is_not_written_stays(tmp_path: Path) -> None:
    (tmp_path / "a").write_text("old")
    with staging(tmp_path / "a", tmp_path / "b") as (_, b):
        b.write_text("new")
    assert {path.name: path.read_text() for path in tmp_path.iterdir()} == {"a": "old", "b": "new"}


def test_a_file_does_not_take_the_place_of_a_folder_nor_the_reverse(tmp_path: Path, folder: bool) -> None:
    write(tmp_path / "a", "old", folder=not folder)
    with pytest.raises(NotWritten, match="of that name is there; move it away first"):
        replace(tmp_path / "a", folder=folder)
    assert read(tmp_path / "a") == "old"
    assert [path.name for path in tmp_path.iterdir()] == ["a"]


def test_a_missing_folder_is_said_in_one_line(tmp_path: Path) -> None:
    target = tmp_path / "missing" / "a"
    with pytest.raises(NotWritten, match="No such file or directory"), staging(target):
        pytest.fail("the block must not begin")
