"""The weights of a big model on disk while nothing reads them.

A converter needs the folded weights, a saved file brings its own, the cover needs the unfolded ones: a big model that
held all of them at once would need several times its size. So weights that the next stage does not read wait in a file
beside the artifacts. The tensors stay what they are, the memory behind them is given back; to read one meanwhile is an
error that torch does not catch, which is why a block of this kind is short.
"""

from __future__ import annotations

import ctypes
import gc
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

import torch
from torch import Tensor, UntypedStorage, nn
from torch.export import ExportedProgram

HEAVY_BYTES = 2**30
"""From this size on a model is treated as a big one: its weights are parked, and not held in float64."""

Holder = nn.Module | ExportedProgram


def weight_bytes(holder: Holder) -> int:
    """Bytes of all parameters and buffers, shared ones once."""
    return sum(storage.nbytes() for storage in _storages(holder).values())


@contextmanager
def parked(folder: Path, holders: Iterable[Holder], *, but: Iterable[Holder] = ()) -> Iterator[None]:
    """Within the block the weights of `holders` lie in a file in `folder`, except those that are also in `but`.

    Nothing happens to models below HEAVY_BYTES, nor where the file cannot be written: it saves memory, no more.
    """
    kept = {place for holder in but for place in _storages(holder)}
    found = {place: storage for holder in holders for place, storage in _storages(holder).items()}
    waiting = [storage for place, storage in found.items() if place not in kept and storage.resizable()]
    if sum(storage.nbytes() for storage in found.values()) < HEAVY_BYTES or not waiting:
        yield
        return
    with tempfile.TemporaryFile(dir=folder, buffering=0) as file:
        sizes = _written(file, waiting)
        _give_back()
        try:
            yield
        finally:
            file.seek(0)
            for storage, size in zip(waiting, sizes, strict=False):
                storage.resize_(size)
                _read(file, _bytes_of(storage))
            _give_back()


def _written(file: IO[bytes], waiting: list[UntypedStorage]) -> list[int]:
    """Write the storages one after the other and free each; the sizes of those for which the disk had room."""
    sizes: list[int] = []
    for storage in waiting:
        try:
            _write(file, _bytes_of(storage))
        except OSError:
            break
        sizes.append(storage.nbytes())
        storage.resize_(0)
    return sizes


def _write(file: IO[bytes], data: memoryview) -> None:
    while data:
        data = data[file.write(data) :]


def _read(file: IO[bytes], into: memoryview) -> None:
    while into:
        count = file.readinto(into)  # pyright: ignore[reportAttributeAccessIssue]
        if not count:
            raise OSError("the file of parked weights ended too early; the disk it lies on is damaged")
        into = into[count:]


def _bytes_of(storage: UntypedStorage) -> memoryview:
    return memoryview(torch.empty(0, dtype=torch.uint8).set_(storage).numpy())  # pyright: ignore[reportArgumentType]


def _storages(holder: Holder) -> dict[int, UntypedStorage]:
    """The memory behind a holder's tensors by its place."""
    if isinstance(holder, nn.Module):
        tensors = (*holder.parameters(), *holder.buffers())
    else:
        tensors = (*holder.state_dict.values(), *holder.constants.values())
    plain = [value.untyped_storage() for value in tensors if isinstance(value, Tensor) and value.device.type == "cpu"]
    return {storage.data_ptr(): storage for storage in plain if storage.nbytes()}


def _give_back() -> None:
    """Let the C library return to the system what was freed; only glibc has to be asked."""
    gc.collect()
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
    if trim is not None:
        trim(0)
