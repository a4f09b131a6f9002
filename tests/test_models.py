"""The contract that every variant of every family passes, and the table of variants.

`contract.py` says which variants run at full size, and which as tiny ones.
"""

from __future__ import annotations

import json
from dataclasses import replace
from itertools import chain

import pytest
import timm
import torch
from contract import CONTRACT, FULL_SIZE, SMALL_FAMILIES, TINY_SWAG, built, daily_first
from fuseport.models import FAMILIES, UnknownVariantError, create, find, variants
from fuseport.models.variant import Claim, Variant, wrong_claims
from golden_weights import GOLDEN, assert_close, golden, image, load_golden_
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

OFFICIAL_KEYS = json.loads((GOLDEN / "official_keys.json").read_text())
FACTS = json.loads((GOLDEN / "model_facts.json").read_text())
FACTS = {name.lower(): facts for family in ("shvit", "swiftformer") for name, facts in FACTS[family].items()}

every_variant = pytest.mark.parametrize("variant", CONTRACT.values(), ids=lambda variant: variant.name)
every_full_size = pytest.mark.parametrize("variant", FULL_SIZE.values(), ids=lambda variant: variant.name)
smallest_of_each_family = pytest.mark.parametrize("name", [family.VARIANTS[0].name for family in SMALL_FAMILIES])


def family_of(variant: Variant):
    return next(family for family in FAMILIES if variant in family.VARIANTS)


def outputs(module: nn.Module, x: torch.Tensor) -> tuple[torch.Tensor, ...]:
    with torch.no_grad():
        y = module(x)
    return y if isinstance(y, tuple) else (y,)


# ---- what the variant says of itself -------------------------------------------------------------------------------


@every_full_size
def test_keys_and_shapes_are_the_official_ones_in_order(variant: Variant) -> None:
    with torch.device("meta"):
        state = create(variant.name).state_dict()
    assert [(key, list(value.shape)) for key, value in state.items()] == [*OFFICIAL_KEYS[variant.name].items()]


@every_full_size
def test_counts_are_the_measured_ones(variant: Variant) -> None:
    facts, size = FACTS[variant.name], variant.preprocessing.size
    assert (variant.parameters, variant.macs, size) == (
        facts["parameters"],
        facts["macs"]["total"],
        facts["resolution"],
    )
    assert variant.parameters_fused == facts.get("parameters_fused", variant.parameters_fused)  # driver test: the rest
    with torch.device("meta"):
        module = create(variant.name)
        with FlopCounterMode(display=False) as counter:
            outputs(module, torch.zeros(1, 3, size, size))
    assert sum(p.numel() for p in module.parameters()) == variant.parameters
    assert sum(b.numel() for b in module.buffers()) == facts["buffer_elements"]
    assert counter.get_total_flops() == 2 * variant.macs


def test_exactly_the_two_wrong_claims_are_flagged() -> None:
    flagged = [(v.name, claim.text, measured) for v in variants().values() for claim, measured in wrong_claims(v)]
    assert flagged == [
        ("swiftformer_xs", "0.4 G", "measured 602,434,988"),
        ("swiftformer_l3", "26.5 M", "measured 28,494,736 or 28,474,192"),
    ]


@pytest.mark.parametrize(
    ("text", "value", "stands"),
    [
        ("11.4 M", 11.4e6, True),  # cut off
        ("11.5 M", 11.5e6, True),  # rounded up
        ("11.6 M", 11.6e6, False),
        ("11.3 M", 11.3e6, False),
        ("11 M", 11e6, True),
        ("13 M", 13e6, False),
    ],
)
def test_a_claim_stands_within_one_step_of_its_last_digit(text: str, value: float, stands: bool) -> None:
    claimed = (Claim("parameters", text, value, "somewhere"), Claim("top1_percent", "99.9 %", 99.9, "somewhere"))
    variant = replace(find("shvit_s1"), parameters=11_483_072, parameters_fused=11_453_508, claims=claimed)
    assert bool(wrong_claims(variant)) is not stands


@every_full_size
def test_claims_downloads_and_preprocessing_are_stated(variant: Variant) -> None:
    assert {"parameters", "macs", "top1_percent"} <= {claim.what for claim in variant.claims}
    assert all(claim.source and claim.text for claim in variant.claims)
    assert any(download.layout == "timm" for download in variant.downloads)
    assert variant.preprocessing.resize == int(256 / 224 * variant.preprocessing.size)
    config = timm.get_pretrained_cfg(variant.timm)
    assert variant.preprocessing.mean == config.mean
    assert variant.preprocessing.std == config.std
    assert variant.preprocessing.size == config.input_size[-1]


# ---- a second witness ----------------------------------------------------------------------------------------------


@every_full_size
def test_timms_model_gives_the_same_logits_with_mapped_weights_both_ways(variant: Variant) -> None:
    family, theirs, ours = family_of(variant), timm.create_model(variant.timm).eval(), create(variant.name)
    timm_state = theirs.state_dict()
    assert family.is_timm(timm_state)
    assert not family.is_timm(ours.state_dict())
    places = family.from_timm({key: key for key in timm_state})
    x = image((1, 3, 96, 96), "A")

    ours = load_golden_(ours)
    theirs.load_state_dict({places[key]: value for key, value in ours.state_dict().items()})
    assert_close(outputs(ours, x)[0], outputs(theirs, x)[0], 1e-5)

    back = create(variant.name)
    back.load_state_dict(family.from_timm(theirs.state_dict()))
    assert torch.equal(outputs(back, x)[0], outputs(ours, x)[0])


@every_full_size
def test_from_timm_leaves_official_keys_alone(variant: Variant) -> None:
    family, keys = family_of(variant), OFFICIAL_KEYS[variant.name]
    assert list(family.from_timm(dict.fromkeys(keys))) == list(keys)
    assert not any(other.is_timm(keys) or other.is_fused(keys) for other in FAMILIES)


# ---- what it computes ----------------------------------------------------------------------------------------------


def assert_captures(module: nn.Module, *, may_read_sizes: bool = False) -> None:
    """torch.export takes the model with an open batch, reading no sizes, and the program computes the same."""
    shapes = ({0: torch.export.Dim("batch", min=1, max=64)},)
    program = torch.export.export(module, (image((2, 3, 64, 64), "A"),), dynamic_shapes=shapes)
    operators = [str(node.target) for node in program.graph.nodes if node.op == "call_function"]
    assert may_read_sizes or not [op for op in operators if "sym_size" in op], "a size is read"
    assert not [op for op in operators if op.endswith("_.default")], "something works in place"
    x = image((3, 3, 64, 64), "B")
    for captured, eager in zip(outputs(program.module(), x), outputs(module, x), strict=True):
        assert_close(captured, eager, 1e-6)


@pytest.mark.parametrize("name", daily_first(CONTRACT))
def test_capture_keeps_the_batch_open(name: str) -> None:
    assert_captures(built(CONTRACT[name]), may_read_sizes=name in TINY_SWAG)


@smallest_of_each_family
@pytest.mark.parametrize("option", ["features", "distillation"])
def test_capture_takes_every_option(name: str, option: str) -> None:
    assert_captures(golden(name, **{option: True}))


@every_variant
def test_pictures_of_a_batch_do_not_mix(variant: Variant) -> None:
    module, x = built(variant), image((2, 3, 64, 64), "A")
    assert_close(outputs(module, x)[0][1:], outputs(module, x[1:])[0], 1e-5)


@every_variant
def test_other_classes_and_channels(variant: Variant) -> None:
    module = built(variant, num_classes=10, in_chans=1)
    assert outputs(module, image((2, 1, 64, 64), "A"))[0].shape == (2, 10)


@smallest_of_each_family
def test_features_without_a_head_are_the_last_stages(name: str) -> None:
    (pooled,) = outputs(create(name, num_classes=0), image((2, 3, 64, 64), "A"))
    assert pooled.shape == outputs(create(name, features=True), image((2, 3, 64, 64), "A"))[-1].shape[:2]


@smallest_of_each_family
@pytest.mark.parametrize(("height", "width"), [(16, 16), (33, 47), (64, 200)])
def test_any_size_from_the_smallest_on_works(name: str, height: int, width: int) -> None:
    (logits,) = outputs(golden(name), image((1, 3, height, width), "A"))
    assert logits.isfinite().all()


@smallest_of_each_family
@pytest.mark.parametrize("shape", [(3, 64, 64), (1, 1, 64, 64), (1, 3, 64, 3), (1, 3, 0, 64), (1, 3, 64)])
def test_an_input_that_does_not_fit_gets_one_clear_line(name: str, shape: tuple[int, ...]) -> None:
    with pytest.raises(
        ValueError, match=r"^expected pictures of shape \(batch, 3, height, width\), both at least"
    ) as e:
        create(name)(torch.zeros(shape))
    assert str(shape) in str(e.value)
    assert "\n" not in str(e.value)


@smallest_of_each_family
@pytest.mark.parametrize("options", [{}, {"features": True}, {"distillation": True}], ids=str)
def test_every_parameter_takes_part_in_training(name: str, options: dict[str, bool]) -> None:
    assert_trains(golden(name, **options))


@pytest.mark.parametrize("variant", TINY_SWAG.values(), ids=lambda variant: variant.name)
def test_every_parameter_takes_part_in_training_with_every_method(variant: Variant) -> None:
    assert_trains(built(variant))


def assert_trains(module: nn.Module) -> None:
    y = module.train()(image((2, 3, 64, 64), "A"))
    sum(part.square().mean() for part in (y if isinstance(y, tuple) else (y,))).backward()
    assert [name for name, p in module.named_parameters() if p.grad is None] == []


# ---- the table -----------------------------------------------------------------------------------------------------


def test_names_are_unique_and_found() -> None:
    names = [variant.name for variant in chain.from_iterable(family.VARIANTS for family in FAMILIES)]
    assert list(variants()) == names
    assert all(find(name).name == name for name in names)


def test_weights_are_shared_with_a_variant_that_has_its_own() -> None:
    owners = {name for name, variant in variants().items() if variant.weights_of is None}
    assert {variant.weights_of for variant in variants().values()} - {None} <= owners


def test_unknown_names_get_suggestions() -> None:
    with pytest.raises(
        UnknownVariantError, match=r"^unknown variant 'SwiftFormer_L2' \(did you mean .*swiftformer_l1"
    ) as e:
        find("SwiftFormer_L2")
    assert "known: shvit_s1, " in str(e.value)
    with pytest.raises(UnknownVariantError, match=r"^unknown variant 'zzz'; known: shvit_s1"):
        create("zzz")


@pytest.mark.parametrize(
    ("options", "line"),
    [
        ({"attention": "l2"}, "shvit_s1 has no option 'attention'; its options: distillation, features"),
        ({"features": "yes"}, "option features of shvit_s1 must be True or False; got 'yes'"),
        ({"num_classes": -1}, "num_classes must be a whole number of at least 0; got -1"),
        ({"num_classes": True}, "num_classes must be a whole number of at least 0; got True"),
        ({"in_chans": 0}, "in_chans must be a whole number of at least 1; got 0"),
        ({"in_chans": 2.5}, "in_chans must be a whole number of at least 1; got 2.5"),
    ],
)
def test_bad_options_get_one_clear_line(options: dict[str, object], line: str) -> None:
    with pytest.raises(ValueError, match=f"^{line}$"):
        create("shvit_s1", **options)
