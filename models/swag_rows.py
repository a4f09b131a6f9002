"""The seed's table: which rows of which method were published, as named presets with the GFLOPs that were claimed.

The README of Expedit-SWAG measures each method on ViT-L/16 at 512 and ViT-H/14 at 518 pixels. A GFLOP there is a
thousand million of the operations that `swag_cost.py` counts, mostly multiply-accumulates. ViT-B/16 has no row: its
presets are ours, in proportion.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Row:
    """One row: `method` on the ViT `size` with `options`; `gflops` as printed, "" where there is no such row."""

    method: str
    size: str
    preset: str
    options: dict[str, Any]
    gflops: str = ""


PREFIXES = {
    "none": "",
    "hourglass": "hourglass_",
    "evit": "e_",
    "tome": "tome_",
    "act": "act_",
    "ats": "ats_",
    "evo": "evo_",
    "smyrf": "smyrf_",
}
"""What stands in front of `vit_l16_in1k` in the seed's hub names."""


def _hourglass(size: str, location: int, side: int, gflops: str = "") -> Row:
    options = {"location": location, "clusters": side * side, "iterations": 5, "temperature": 1.0, "window": 5}
    return Row("hourglass", size, f"l{location}_{side}x{side}", options, gflops)


def _evit(size: str, rate: float, layers: tuple[int, ...], gflops: str = "") -> Row:
    return Row("evit", size, f"k{rate}", {"keep_rate": rate, "drop_layers": layers, "fuse": False}, gflops)


def _tome(size: str, r: int, gflops: str = "") -> Row:
    return Row("tome", size, f"r{r}", {"r": r}, gflops)


def _act(size: str, hashes: int, gflops: str = "") -> Row:
    return Row("act", size, f"q{hashes}", {"q_hashes": hashes}, gflops)


def _ats(size: str, layer: int, gflops: str = "") -> Row:
    return Row("ats", size, f"a{layer}", {"layers": (layer,)}, gflops)


def _evo(size: str, location: int, ratio: float, gflops: str = "") -> Row:
    return Row("evo", size, f"l{location}_k{ratio}", {"location": location, "keep_ratio": ratio}, gflops)


def _smyrf(size: str, first: int, cluster: int, gflops: str = "") -> Row:
    return Row("smyrf", size, f"c{cluster}", {"first_layer": first, "cluster": cluster, "rounds": 32}, gflops)


# fmt: off
ROWS = (
    Row("none", "b16", "plain", {}),
    Row("none", "l16", "plain", {}, "364.8"),
    Row("none", "h14", "plain", {}, "1023.2"),
    _hourglass("b16", 6, 17),
    _hourglass("l16", 12, 23, "275.8"), _hourglass("l16", 6, 23, "228.5"), _hourglass("l16", 8, 16, "179.0"),
    _hourglass("h14", 10, 26, "652.4"), _hourglass("h14", 4, 25, "514.1"), _hourglass("h14", 8, 18, "422.7"),
    _evit("b16", 0.7, (3, 6, 9)),
    _evit("l16", 0.8, (6, 12, 18), "264.9"), _evit("l16", 0.7, (6, 12, 18), "227.1"),
    _evit("l16", 0.5, (6, 12, 18), "170.2"),
    _evit("h14", 0.7, (8, 16, 24), "632.3"), _evit("h14", 0.6, (8, 16, 24), "544.4"),
    _evit("h14", 0.5, (8, 16, 24), "472.0"),
    _tome("b16", 10),
    _tome("l16", 10, "317.5"), _tome("l16", 20, "271.2"), _tome("l16", 40, "184.3"),
    _tome("h14", 10, "890.0"), _tome("h14", 20, "760.0"), _tome("h14", 40, "516.9"),
    _act("b16", 16),
    _act("l16", 16, "333.5"), _act("l16", 20, "341.8"), _act("l16", 24, "346.2"), _act("l16", 32, "352.5"),
    _act("h14", 16, "923.3"), _act("h14", 20, "943.5"), _act("h14", 24, "956.0"), _act("h14", 32, "978.5"),
    _ats("b16", 9),
    _ats("l16", 20, "323.3"), _ats("l16", 18, "306.2"), _ats("l16", 16, "292.1"),
    _ats("h14", 18, "731.4"), _ats("h14", 16, "693.4"), _ats("h14", 14, "676.3"),
    _evo("b16", 6, 0.5),
    _evo("l16", 18, 0.4, "307.0"), _evo("l16", 8, 0.6, "259.1"), _evo("l16", 8, 0.4, "210.6"),
    _evo("h14", 16, 0.6, "799.8"), _evo("h14", 14, 0.5, "713.5"), _evo("h14", 14, 0.3, "602.0"),
    _smyrf("b16", 6, 32),
    _smyrf("l16", 12, 64, "392"), _smyrf("l16", 12, 32, "365.6"), _smyrf("l16", 12, 16, "352.4"),
    _smyrf("h14", 16, 64, "1063.8"), _smyrf("h14", 16, 32, "1005.3"), _smyrf("h14", 16, 16, "975.98"),
)
# fmt: on


def rows_of(method: str, size: str) -> tuple[Row, ...]:
    """The rows of one method on one size, in the table's order; the first is the default."""
    return tuple(row for row in ROWS if (row.method, row.size) == (method, size))
