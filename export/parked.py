"""The weights of a big model on disk while nothing reads them.

A converter needs the folded weights, a saved file brings its own, the cover needs the unfolded ones: a big model that
held all of them at once would need several times its size. So weights that the next stage does not read wait in a file
beside the artifacts, and the pages of memory behind them go back to the system (madvise). The tensors stay where they
are; meanwhile they read as zeros, which is why a block of this kind is short. Linux only; elsewhere nothing is parked.
"""

from __future__ import annotations

import ctypes
import gc
import mmap
import sys
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from torch import Tensor, UntypedStorage, nn
from torch.export import ExportedProgram

HEAVY_BYTES = 2**30
"""Models below this size are left alone."""

LARGE_BYTES = 2**20
"""Tensors below this size are left alone."""

M_MMAP_THRESHOLD = -3
"""Of malloc.h: blocks from this size on are mapped, each by itself."""

Holder = nn.Module | ExportedProgram


@contextmanager
def parked(folder: Path, holders: Iterable[Holder], *, but: Iterable[Holder] = ()) -> Iterator[None]:
    """Within the block the weights of `holders` lie in a file in `folder`, except those that are also in `but`.

    Nothing happens to models below HEAVY_BYTES, nor where the file cannot be written: it saves memory, no more.
    """
    kept = {place for holder in but for place in _storages(holder)}
    found = {place: storage for holder in holders for place, storage in _storages(holder).items()}
    large = [storage for place, storage in found.items() if place not in kept and storage.nbytes() >= LARGE_BYTES]
    if sys.platform != "linux" or sum(storage.nbytes() for storage in found.values()) < HEAVY_BYTES:
        yield
        return
    with tempfile.TemporaryFile(dir=folder, buffering=0) as file:
        waiting = [storage for storage in large if _put_away(file, storage)]
        _give_back()
        try:
            yield
        finally:
            _give_back()  # what the block has freed goes first
            file.seek(0)
            for storage in waiting:
                _read(file, _bytes_of(storage))


def free_at_once(holder: Holder) -> None:
    """For a heavy model: from here on the C library returns every large block to the system when it is freed.

    By itself glibc keeps blocks below 32 MiB, such as the weights and values of a layer, in a heap full of holes.
    """
    tune = getattr(ctypes.CDLL(None), "mallopt", None) if sys.platform == "linux" else None
    if tune is not None and sum(storage.nbytes() for storage in _storages(holder).values()) >= HEAVY_BYTES:
        tune(M_MMAP_THRESHOLD, LARGE_BYTES)


def _put_away(file: IO[bytes], storage: UntypedStorage) -> bool:
    """Write the storage to the end of the file and let go of its pages; false where the disk has no room."""
    end, data = file.tell(), _bytes_of(storage)
    try:
        while data:
            data = data[file.write(data) :]
    except OSError:
        file.seek(end)
        return False
    begin, size = storage.data_ptr(), storage.nbytes()
    first = -(-begin // mmap.PAGESIZE) * mmap.PAGESIZE
    length = (begin + size) // mmap.PAGESIZE * mmap.PAGESIZE - first
    ctypes.CDLL(None).madvise(ctypes.c_void_p(first), ctypes.c_size_t(length), mmap.MADV_DONTNEED)
    return True


def _read(file: IO[bytes], into: memoryview) -> None:
    while into:
        count = file.readinto(into)  # pyright: ignore[reportAttributeAccessIssue]
        if not count:
            raise OSError("the file of parked weights ended too early; the disk it lies on is damaged")
        into = into[count:]


def _bytes_of(storage: UntypedStorage) -> memoryview:
    """The memory itself. Not by way of numpy, which would mark the storage as its own."""
    return memoryview((ctypes.c_ubyte * storage.nbytes()).from_address(storage.data_ptr())).cast("B")


def _storages(holder: Holder) -> dict[int, UntypedStorage]:
    """The memory behind a holder's tensors by its place."""
    if isinstance(holder, nn.Module):
        tensors = (*holder.parameters(), *holder.buffers())
    else:
        tensors = (*holder.state_dict.values(), *holder.constants.values())
    held = [value.untyped_storage() for value in tensors if isinstance(value, Tensor) and value.device.type == "cpu"]
    return {storage.data_ptr(): storage for storage in held if storage.nbytes()}


def _give_back() -> None:
    """Let the C library return to the system what was freed; only glibc has to be asked."""
    gc.collect()
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
    if trim is not None:
        trim(0)
