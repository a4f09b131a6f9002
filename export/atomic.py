"""Write beside the target, then rename: a target is the old file, or the complete new one, and never half of it.

The new files are made in a hidden folder beside the targets, so that a rename is enough to put them in place. A single
file takes the place of the old one in one step. A folder, or several files that belong together, cannot be exchanged in
one step: the old ones are moved away, the new ones moved in, and if anything fails in between (an error, or Ctrl-C) the
old ones are moved back.
"""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


class NotWritten(OSError):
    """The target could not be written. Its message is one line; what was there before is still there."""


@contextmanager
def staging(*targets: Path) -> Iterator[tuple[Path, ...]]:
    """Give a path for each target, of the same name, to be written inside the block; then put them in place together.

    The targets lie in one folder, which must exist. A path that the block leaves out leaves its target as it was; a
    file that it writes beside them (the weights of an ONNX model) goes along. Raises NotWritten where the folder cannot
    be written or the disk is full; any other exception passes through, with nothing changed.
    """
    folder = targets[0].parent
    with _said_in_one_line(targets[0]):
        room = Path(tempfile.mkdtemp(prefix=f".{targets[0].name}.", suffix=".partial", dir=folder))
    try:
        with _said_in_one_line(targets[0]):
            new, old = room / "new", room / "old"
            new.mkdir()
            old.mkdir()
            yield tuple(new / target.name for target in targets)
            _put_in_place({path: folder / path.name for path in sorted(new.iterdir())}, old)
    finally:
        shutil.rmtree(room, ignore_errors=True)


@contextmanager
def _said_in_one_line(target: Path) -> Iterator[None]:
    try:
        yield
    except NotWritten:
        raise
    except OSError as error:
        reason = error.strerror or error
        raise NotWritten(
            f"cannot write {target}: {reason}; nothing was changed; make room, or choose another folder"
        ) from error


def _put_in_place(moves: dict[Path, Path], old: Path) -> None:
    for new, target in moves.items():
        if target.exists() and target.is_dir() != new.is_dir():
            kinds = ("file", "folder")
            raise NotWritten(
                f"cannot write the {kinds[new.is_dir()]} {target}: a {kinds[target.is_dir()]} of that name is there; "
                "move it away first"
            )
    if len(moves) == 1 and all(new.is_file() for new in moves):
        for new, target in moves.items():
            new.replace(target)
    else:
        _exchange(moves, old)


def _exchange(moves: dict[Path, Path], old: Path) -> None:
    """Move the targets into the folder `old`, then the new ones in; on any failure undo the steps, last one first."""
    steps = [(target, old / target.name) for target in moves.values() if target.exists()]
    steps += list(moves.items())
    try:
        for source, destination in steps:
            source.rename(destination)
    except BaseException:
        for source, destination in reversed(steps):
            if destination.exists() and not source.exists():
                destination.rename(source)
        raise
