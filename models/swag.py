"""The SWAG family: three plain vision transformers, and each of them with one of seven token-reduction methods.

`swag_vit.py` is the network, `tokens/` the methods, `swag_rows.py` the published settings, `swag_weights.py` the
checkpoints, `swag_cost.py` the seed's way of counting. Every variant of a size takes the same checkpoint.
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import partial
from typing import Any

from torch import Tensor

from .swag_rows import PREFIXES, Row, rows_of
from .swag_vit import SIZES, SwagViT, ViTSize, vit_shape
from .swag_weights import fitted, from_torchvision, is_torchvision
from .tokens import BY_NAME, create
from .tokens.options import switch
from .variant import Claim, Download, Preprocessing, Variant

__all__ = ["LAYOUT", "VARIANTS", "build", "fitted", "from_timm", "is_fused", "is_timm"]

LAYOUT = "torchvision"
"""Whose keys `from_timm` maps: timm has no model of these weights."""


def build(
    size: ViTSize,
    method: str,
    *,
    num_classes: int = 1000,
    in_chans: int = 3,
    image_size: int | str | None = None,
    preset: str | None = None,
    choices: bool | str = False,
    **options: Any,
) -> SwagViT:
    """A ViT of that size with that method ("none" for all tokens), its weights fresh.

    `choices` adds what the method chose to the outputs. `preset` names a row of the seed's table, by default its first;
    `options` replace the row's values; text is taken for what it spells, as it comes from a command line. Raises
    ValueError in one line for a value out of range.
    """
    side = _spelled(image_size)
    shape = vit_shape(size, side)
    given = {name: _spelled(value) for name, value in options.items()}
    reduction = create(method, shape, **{**_preset(method, size, preset), **given})
    return SwagViT(
        size,
        reduction,
        image_size=side,
        num_classes=num_classes,
        in_chans=in_chans,
        choices=switch("choices", _spelled(choices)),
    )


def is_timm(keys: Iterable[str]) -> bool:
    """Whether these are the keys of the same weights' other publisher, which here is torchvision."""
    return is_torchvision(keys)


def from_timm(state_dict: dict[str, Tensor]) -> dict[str, Tensor]:
    """torchvision's state dict under the official keys."""
    return from_torchvision(state_dict)


def is_fused(keys: Iterable[str]) -> bool:
    """False: there is no batch norm to fold."""
    return False


def _preset(method: str, size: ViTSize, preset: str | None) -> dict[str, Any]:
    """The options of a row of the table, by its name. Raises ValueError for a name that this variant does not have."""
    key = next((key for key, known in SIZES.items() if known == size), None)
    rows = {row.preset: row for row in rows_of(method, key)} if key else {}
    if preset is None:
        return dict(next(iter(rows.values())).options) if rows else {}
    if preset not in rows:
        raise ValueError(f"unknown preset {preset!r}; this variant has {', '.join(rows) or 'none'}")
    return dict(rows[preset].options)


def _spelled(value: Any) -> Any:
    """The number or truth value that a text spells, else the text itself."""
    if not isinstance(value, str):
        return value
    words = {"true": True, "false": False, "none": None}
    for kind in (int, float):
        try:
            return kind(value)
        except ValueError:
            continue
    return words.get(value.lower(), value)


_PAPER = "https://arxiv.org/abs/2201.08371"
_PAPERS = {
    "none": _PAPER,
    "hourglass": "https://arxiv.org/abs/2210.01035",
    "evit": "https://arxiv.org/abs/2202.07800",
    "tome": "https://arxiv.org/abs/2210.09461",
    "act": "https://arxiv.org/abs/2011.09315",
    "ats": "https://arxiv.org/abs/2111.15667",
    "evo": "https://arxiv.org/abs/2108.01390",
    "smyrf": "https://arxiv.org/abs/2010.05315",
}
_SEED = "the README of Expedit-SWAG"
_TOP1 = {
    "b16": Claim("top1_percent", "85.304 %", 85.304, "torchvision, ViT_B_16_Weights.IMAGENET1K_SWAG_E2E_V1"),
    "l16": Claim("top1_percent", "88.1 %", 88.1, _SEED),
    "h14": Claim("top1_percent", "88.5 %", 88.5, _SEED),
}
_FILES = {"b16": "vit_b_16_swag-9ac1b537", "l16": "vit_l_16_swag-4f3808c9", "h14": "vit_h_14_swag-80465313"}
_PARAMETERS = {"b16": 86_859_496, "l16": 305_174_504, "h14": 633_470_440}
_MACS = {  # of the static form, which for ACT and ATS saves nothing, with the default preset: b16, l16, h14
    "none": (55_484_350_464, 361_986_285_568, 1_016_716_764_160),
    "hourglass": (42_409_307_136, 274_428_690_432, 650_104_540_160),
    "evit": (35_654_398_464, 263_062_771_712, 628_873_436_160),
    "tome": (49_230_940_316, 314_973_092_632, 884_077_675_360),
    "act": (58_637_706_240, 388_209_491_968, 1_094_492_431_360),
    "ats": (55_485_125_376, 361_988_383_744, 1_016_720_391_921),
    "evo": (40_959_206_400, 304_732_284_928, 795_173_954_560),
    "smyrf": (58_036_813_824, 388_587_347_968, 1_056_603_448_320),
}


def _gflops(method: str, size: str) -> tuple[Claim, ...]:
    """The GFLOPs column of the seed's table, in the seed's own counting (`swag_cost.py`)."""
    rows = [row for row in rows_of(method, size) if row.gflops]
    return tuple(Claim("seed_gflops", f"{row.gflops} G ({row.preset})", float(row.gflops) * 1e9, _SEED) for row in rows)


def _variant(method: str, size: str) -> Variant:
    side = SIZES[size].image
    options = BY_NAME[method].OPTIONS if method != "none" else {}
    return Variant(
        name=f"{PREFIXES[method]}vit_{size}_in1k",
        family="swag",
        build=partial(build, SIZES[size], method),
        preprocessing=Preprocessing(size=side, resize=side),
        parameters=_PARAMETERS[size],
        macs=dict(zip(SIZES, _MACS[method], strict=True))[size],
        weights_of=f"vit_{size}_in1k" if method != "none" else None,
        claims=((_TOP1[size],) if method == "none" else ()) + _gflops(method, size),
        downloads=(Download(f"https://download.pytorch.org/models/{_FILES[size]}.pth", LAYOUT),),
        paper=_PAPERS[method],
        model_args={
            "image_size": f"side of the pictures, a multiple of {SIZES[size].patch} (default: {side})",
            **({"preset": _told(rows_of(method, size))} if options else {}),
            **({"choices": "give what each layer chose as further outputs (default: false)"} if options else {}),
            **options,
        },
    )


def _told(rows: tuple[Row, ...]) -> str:
    """The presets of a variant, each with the options that it sets, as they are written on the command line."""
    whose = "row of the seed's table" if any(row.gflops for row in rows) else "ours, in proportion to the seed's"
    return f"{whose}, the first unless given: " + ", ".join(
        f"{row.preset} ({' '.join(f'{name}={_written(value)}' for name, value in row.options.items())})" for row in rows
    )


def _written(value: Any) -> str:
    if isinstance(value, tuple):
        return ",".join(map(str, value))
    return str(value).lower() if isinstance(value, bool) else str(value)


VARIANTS = tuple(_variant(method, size) for method in PREFIXES for size in SIZES)
