"""The family: its table of variants, its presets, and options as they come from a command line."""

from __future__ import annotations

import re

import pytest
import torch
from fuseport.models.swag import VARIANTS, _spelled, build, from_timm, is_fused, is_timm
from fuseport.models.swag_rows import PREFIXES, ROWS, Row, rows_of
from fuseport.models.swag_vit import SIZES, SwagViT, vit_shape
from fuseport.models.tokens import create
from fuseport.models.tokens.evit import EViT
from fuseport.models.tokens.tome import ToMe
from fuseport.models.variant import Variant
from swag_golden import tiny
from torch.utils.flop_counter import FlopCounterMode

BY_NAME = {variant.name: variant for variant in VARIANTS}
every_variant = pytest.mark.parametrize("variant", VARIANTS, ids=lambda variant: variant.name)


def test_the_names_are_the_seeds() -> None:
    methods = ("", "hourglass_", "e_", "tome_", "act_", "ats_", "evo_", "smyrf_")
    assert set(BY_NAME) == {f"{method}vit_{size}_in1k" for method in methods for size in ("b16", "l16", "h14")}
    assert len(VARIANTS) == len(BY_NAME) == 24


@pytest.mark.parametrize(
    "variant",
    [pytest.param(v, marks=[pytest.mark.slow] if "h14" in v.name else [], id=v.name) for v in VARIANTS],
)
def test_counts_are_the_measured_ones(variant: Variant) -> None:
    side = variant.preprocessing.size
    with torch.device("meta"):
        model = variant.build().eval()
        with torch.no_grad(), FlopCounterMode(display=False) as counter:
            model(torch.zeros(1, 3, side, side))
    assert sum(parameter.numel() for parameter in model.parameters()) == variant.parameters
    assert counter.get_total_flops() == 2 * variant.macs


@every_variant
def test_every_variant_says_what_it_takes(variant: Variant) -> None:
    assert variant.paper.startswith("https://arxiv.org/abs/")
    assert variant.preprocessing.resize == variant.preprocessing.size
    assert variant.downloads[0].url.startswith("https://download.pytorch.org/models/vit_")
    plain = variant.name.startswith("vit_")
    assert ("preset" in variant.model_args) == ("choices" in variant.model_args) == (not plain)
    assert (variant.weights_of is None) == plain
    assert {claim.what for claim in variant.claims} <= {"top1_percent", "seed_gflops"}
    assert bool(variant.claims) == (plain or "b16" not in variant.name)


@pytest.mark.parametrize("row", [row for row in ROWS if row.size == "b16"], ids=lambda row: row.preset)
def test_a_preset_sets_its_rows_options(row: Row) -> None:
    """`test_swag_cost` builds the published rows."""
    with torch.device("meta"):
        model = build(SIZES[row.size], row.method, preset=row.preset)
    for option, value in row.options.items():
        held = getattr(model.reduction, option, value)
        assert held == value or isinstance(held, range), option


@pytest.mark.parametrize("variant", [v for v in VARIANTS if "preset" in v.model_args], ids=lambda v: v.name)
def test_what_is_told_of_a_preset_is_what_it_sets(variant: Variant) -> None:
    told = variant.model_args["preset"]
    rows = [row for row in ROWS if variant.name == f"{PREFIXES[row.method]}vit_{row.size}_in1k"]
    assert told.startswith("row of the seed's table" if rows[0].gflops else "ours")
    for row in rows:
        (written,) = re.findall(rf"\b{re.escape(row.preset)} \(([^)]*)\)", told)
        given = dict(pair.split("=") for pair in written.split())
        assert given.keys() == row.options.keys()
        create(row.method, vit_shape(SIZES[row.size]), **{name: _spelled(text) for name, text in given.items()})
        assert [str(_spelled(text)).strip("()") for text in given.values()] == [
            str(value).strip("()").replace(" ", "").rstrip(",") for value in row.options.values()
        ]


def test_options_replace_the_presets_and_may_be_text() -> None:
    with torch.device("meta"):
        first = build(SIZES["l16"], "tome").reduction
        named = build(SIZES["l16"], "tome", preset="r40").reduction
        given = build(SIZES["l16"], "tome", preset="r40", r="25").reduction
        evit = build(SIZES["b16"], "evit", keep_rate="0.5", drop_layers="2,4", fuse="true", choices="true")
    assert isinstance(first, ToMe)
    assert isinstance(named, ToMe)
    assert isinstance(given, ToMe)
    assert [set(method.schedule) for method in (first, named, given)] == [{10}, {40}, {25}]
    assert isinstance(evit.reduction, EViT)
    assert (evit.reduction.keep_rate, evit.reduction.drop_layers, evit.reduction.fuse) == (0.5, (2, 4), True)
    assert evit.choices


def test_image_size_as_text_reaches_the_methods() -> None:
    with torch.device("meta"):
        model = build(SIZES["b16"], "tome", image_size="224")
    assert model.reduction.tokens()[0] == 187


@pytest.mark.parametrize(
    ("options", "line"),
    [
        ({"preset": "r11"}, r"unknown preset 'r11'; this variant has r10, r20, r40"),
        ({"r": "x"}, r"r must be a whole number from 0 to 1024 \(the network has 1025 tokens\); got 'x'"),
        ({"choices": "perhaps"}, "choices must be true or false; got 'perhaps'"),
        ({"image_size": "500"}, "image_size of ViT-L/16 must be a multiple .*, such as 496; got 500"),
        ({"ratio": "3"}, "tome has no option 'ratio'; it takes r, inflect"),
    ],
)
def test_bad_options_get_one_line(options: dict[str, str], line: str) -> None:
    with pytest.raises(ValueError, match=f"^{line}$"):
        build(SIZES["l16"], "tome", **options)


def test_a_size_without_rows_needs_its_options() -> None:
    assert rows_of("tome", "s16") == ()
    with pytest.raises(ValueError, match=r"^tome needs the option 'r': "):
        build(tiny().size, "tome")
    with pytest.raises(ValueError, match=r"^unknown preset 'r10'; this variant has none$"):
        build(tiny().size, "tome", preset="r10")


def test_the_other_layout_is_torchvisions() -> None:
    ours = tiny().state_dict()
    theirs = {key.replace("layers.layer_", "layers.encoder_layer_"): value for key, value in ours.items()}
    assert is_timm(theirs)
    assert not is_timm(ours)
    assert from_timm(theirs).keys() == ours.keys()
    assert not is_fused(ours)


def test_one_checkpoint_serves_every_variant_of_a_size() -> None:
    with torch.device("meta"):
        keys = {frozenset(v.build().state_dict()) for v in VARIANTS if "b16" in v.name}
    assert len(keys) == 1
    assert isinstance(SwagViT(tiny().size), torch.nn.Module)
