"""The weights of a big model in a file that is mapped into memory: there lies what was read lately, no more.

A run reads the weights of the unfolded model, those of the folded one, and those of the files that it writes. Together
they are several times the model, but never read at the same time. So the weights of a big model move into a file beside
the artifacts; the tensors stay what they were, except that they read from there. After each stage their pages go back
to the system (madvise), which brings them in again when somebody reads them. Linux only; elsewhere, and where the disk
is full, weights stay in memory: it saves memory, no more.
"""

from __future__ import annotations

import ctypes
import gc
import mmap
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO
from weakref import WeakSet

import torch
from torch import Tensor, UntypedStorage, nn

HEAVY_BYTES = 2**30
"""Models below this size are left alone."""

LARGE_BYTES = 2**20
"""Tensors below this size are left alone."""

M_MMAP_THRESHOLD = -3
"""Of malloc.h: blocks from this size on are mapped, each by itself."""


class Mapped:
    """The file and what of it is mapped. Without a file, which is for models that are not big, it does nothing."""

    def __init__(self, file: IO[bytes] | None) -> None:
        self._file = file
        self._maps: WeakSet[mmap.mmap] = WeakSet()

    def move(self, module: nn.Module) -> None:
        """Let the parameters and buffers of the module read from the file; tensors that share memory go on sharing."""
        if self._file is None:
            return
        moved: dict[int, UntypedStorage] = {}
        for tensor in (*module.parameters(), *module.buffers()):
            storage = tensor.untyped_storage()
            if storage.data_ptr() not in moved:
                moved[storage.data_ptr()] = self._placed(storage)
            kept = moved[storage.data_ptr()]
            if kept is not storage:
                tensor.data = _read_from(kept, tensor)

    def moved(self, value: Tensor) -> Tensor:
        """The same values, read from the file. What was read of it before goes back to the system."""
        if self._file is None:
            return value
        storage = value.untyped_storage()
        kept = self._placed(storage)
        if kept is storage:
            return value
        self.forget()
        return _read_from(kept, value)

    def let_go(self) -> None:
        """Give back to the system the pages that were read, and what has been freed: for the end of a stage."""
        if self._file is None:
            return
        gc.collect()  # converters leave copies of the weights behind, in cycles
        self.forget()
        trim = getattr(ctypes.CDLL(None), "malloc_trim", None)  # only glibc has to be asked
        if trim is not None:
            trim(0)

    def forget(self) -> None:
        """Give back to the system the pages that were read."""
        for mapped in list(self._maps):
            mapped.madvise(mmap.MADV_DONTNEED)

    def _placed(self, storage: UntypedStorage) -> UntypedStorage:
        """The storage's bytes at the end of the file, mapped; the storage itself if it is small or the disk is full."""
        assert self._file is not None
        if storage.nbytes() < LARGE_BYTES or storage.device.type != "cpu":
            return storage
        begin = -(-self._file.seek(0, 2) // mmap.ALLOCATIONGRANULARITY) * mmap.ALLOCATIONGRANULARITY
        data = memoryview((ctypes.c_ubyte * storage.nbytes()).from_address(storage.data_ptr())).cast("B")
        try:
            self._file.seek(begin)
            while data:
                data = data[self._file.write(data) :]
        except OSError:
            return storage
        mapped = mmap.mmap(self._file.fileno(), storage.nbytes(), offset=begin)
        self._maps.add(mapped)
        return torch.frombuffer(mapped, dtype=torch.uint8).untyped_storage()


def _read_from(storage: UntypedStorage, like: Tensor) -> Tensor:
    """The tensor that `like` is, over other bytes."""
    view = torch.empty(0, dtype=like.dtype)
    return view.set_(storage, like.storage_offset(), like.shape, like.stride())  # pyright: ignore


IN_MEMORY = Mapped(None)
"""For models that are not big."""


@contextmanager
def mapped(folder: Path, module: nn.Module) -> Iterator[Mapped]:
    """A file in `folder` for the weights of `module`, which move there, and for those that are made of them.

    Nothing happens to a module below HEAVY_BYTES. The file has no name; it is gone when nobody reads from it any more.
    """
    size = sum(value.nbytes for value in (*module.parameters(), *module.buffers()))
    if sys.platform != "linux" or size < HEAVY_BYTES:
        yield IN_MEMORY
        return
    _free_at_once()
    with tempfile.TemporaryFile(dir=folder, buffering=0) as file:
        weights = Mapped(file)
        weights.move(module)
        weights.let_go()
        yield weights


def _free_at_once() -> None:
    """From here on the C library returns every large block to the system when it is freed.

    By itself glibc keeps blocks below 32 MiB, such as the weights and values of a layer, in a heap full of holes.
    """
    tune = getattr(ctypes.CDLL(None), "mallopt", None)
    if tune is not None:
        tune(M_MMAP_THRESHOLD, LARGE_BYTES)
