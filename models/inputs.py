"""What a model takes: its inputs by name, with shape, number format, and the range of whole numbers."""

from __future__ import annotations

from dataclasses import dataclass

PICTURE_SIDE = 8
"""Maps of at least this many positions per side are fed pictures; smaller ones are fed noise."""


@dataclass(frozen=True)
class Input:
    """One input. `shape` is that of one sample, without the batch that stands in front of it.

    `dtype` is torch's name for it; whole numbers are drawn from 0 up to, not including, `limit`. `keyword` says that
    the model is given it by its name.
    """

    name: str
    shape: tuple[int, ...]
    dtype: str = "float32"
    limit: int | None = None
    keyword: bool = False

    @property
    def is_map(self) -> bool:
        """Whether it is a stack of channels over a plane, as a picture is: float32 (C, H, W)."""
        return self.dtype == "float32" and len(self.shape) == 3 and min(self.shape[1:]) >= PICTURE_SIDE
