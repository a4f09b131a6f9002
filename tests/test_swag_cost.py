"""The seed's GFLOPs column, row by row, and the counter's own figures behind it."""

from __future__ import annotations

import json

import pytest
import torch
from fuseport.models.swag import build
from fuseport.models.swag_cost import choice_counts, implied_count, seed_cost
from fuseport.models.swag_rows import ROWS, Row
from fuseport.models.swag_vit import SIZES, SwagViT
from fuseport.models.tokens import create
from golden_weights import GOLDEN, image
from swag_golden import CASES, golden_model, pictures, tiny

MEASURED = json.loads((GOLDEN / "swag_gflops.json").read_text())["rows"]
DEPENDENT = ("act", "ats")
PUBLISHED = [row for row in ROWS if row.gflops]
SIZE = {"L": "l16", "H": "h14"}
METHODS = {"base": "none", "e": "evit"}


def meta(row: Row, **options: object) -> SwagViT:
    with torch.device("meta"):
        return build(SIZES[row.size], row.method, preset=row.preset, **options)


def name(row: Row) -> str:
    return f"{row.method} {row.size} {row.preset}"


def test_the_table_has_all_its_rows() -> None:
    assert len(PUBLISHED) == 46
    assert sum(row.method in DEPENDENT for row in PUBLISHED) == 14


@pytest.mark.parametrize("row", [row for row in PUBLISHED if row.method not in DEPENDENT], ids=name)
def test_reproduces_the_readme_to_the_last_printed_digit_and_the_counter_to_four(row: Row) -> None:
    cost = seed_cost(meta(row))
    decimals = len(row.gflops.partition(".")[2])
    assert f"{cost.gflops:.{decimals}f}" == row.gflops
    measured = [m["measured_gflops"] for m in MEASURED if f"{m['readme_gflops']:g}" == f"{float(row.gflops):g}"]
    assert min(abs(cost.gflops - one) for one in measured) <= 1e-4
    assert not cost.statement


@pytest.mark.parametrize("measured", [m for m in MEASURED if m["arguments"].get("fuse_token")], ids=lambda m: m["row"])
def test_the_fused_token_is_counted_as_the_counter_does(measured: dict) -> None:
    arguments = measured["arguments"]
    with torch.device("meta"):
        model = build(
            SIZES["l16"],
            "evit",
            keep_rate=arguments["base_keep_rate"],
            drop_layers=tuple(arguments["drop_loc"]),
            fuse=True,
        )
    assert abs(seed_cost(model).gflops - measured["measured_gflops"]) <= 1e-4


def test_base_b16_is_the_counters() -> None:
    assert f"{seed_cost(meta(ROWS[0])).gflops:.3f}" == "55.886"


# ---- ACT and ATS ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("method", "size", "implied"),
    [
        ("act", "l16", (417, 572, 653, 769)),
        ("act", "h14", (496, 667, 772, 962)),
        ("ats", "l16", (280, 353, 415)),
        ("ats", "h14", (499, 513, 576)),
    ],
)
def test_what_the_published_figures_of_act_and_ats_mean(method: str, size: str, implied: tuple[int, ...]) -> None:
    rows = [row for row in PUBLISHED if (row.method, row.size) == (method, size)]
    assert tuple(implied_count(meta(row), float(row.gflops)) for row in rows) == implied


def test_input_dependent_costs_say_so_and_grow_with_what_is_counted() -> None:
    for row in (next(row for row in PUBLISHED if row.method == method) for method in DEPENDENT):
        model = meta(row)
        layers = len(model.reduction.layers)
        most, half = seed_cost(model), seed_cost(model, (512,) * layers)
        assert half.flops < most.flops
        assert most.statement.startswith("depends on picture and weights; counted with 1025 ")
        assert most.statement.endswith(", the most that there can be")
        assert half.statement.startswith("depends on picture and weights; counted with 512 ")
        assert half.counted == (512,) * layers


def test_a_token_bound_is_the_most_that_ats_can_keep() -> None:
    cost = seed_cost(tiny("ats", layers=(1,), token_bound=20))
    assert cost.counted == (20,)
    assert cost.layers[-1].tokens_out == 20


def test_counts_come_from_running_the_model_on_a_picture() -> None:
    counts = choice_counts(golden_model("ats_multi_drop"), pictures("ats_multi_drop"))
    assert counts == tuple(CASES["ats_multi_drop"]["layers"][i]["tokens"] for i in (1, 2, 3))
    model = golden_model("act_q5")
    groups = choice_counts(model, pictures("act_q5")[:1])
    assert len(groups) == 5
    assert all(1 < count < 65 for count in groups)
    assert seed_cost(model, groups).flops < seed_cost(model).flops


# ---- consistency and bad input --------------------------------------------------------------------------------------


@pytest.mark.parametrize("row", [row for row in ROWS if row.size == "b16"], ids=name)
def test_layers_chain_and_add_up(row: Row) -> None:
    model = meta(row)
    cost = seed_cost(model)
    assert [layer.index for layer in cost.layers] == list(range(12))
    assert [layer.tokens_in for layer in cost.layers] == [577, *(layer.tokens_out for layer in cost.layers[:-1])]
    assert cost.flops == cost.frame + sum(layer.flops for layer in cost.layers)


def test_classes_channels_and_resolution_count() -> None:
    with torch.device("meta"):
        one, ten, grey, small = (
            build(SIZES["b16"], "none", **options)
            for options in ({"num_classes": 0}, {"num_classes": 10}, {"in_chans": 1}, {"image_size": 224})
        )
    assert seed_cost(ten).flops - seed_cost(one).flops == 10 * 769
    assert seed_cost(meta(ROWS[0])).flops - seed_cost(grey).flops == 2 * 256 * 768 * 576
    assert seed_cost(small).layers[0].tokens_in == 197


def test_a_keep_rate_of_one_and_r_of_zero_cost_what_they_do() -> None:
    plain = seed_cost(tiny()).flops
    assert seed_cost(tiny("evit", keep_rate=1.0, drop_layers=(1,))).flops == plain
    assert seed_cost(tiny("tome", r=0)).flops == plain + 4 * 4 * 65 * 65  # the sizes are still added to the logits
    assert seed_cost(tiny("smyrf", cluster=5, first_layer=4)).flops != plain


def test_counts_that_do_not_fit_are_refused() -> None:
    with pytest.raises(ValueError, match=r"^the cost of this method follows from its options; leave the counts out$"):
        seed_cost(tiny("tome", r=4), (65,) * 5)
    for counted in [(65,), (66,) * 5, (0,) * 5]:
        with pytest.raises(
            ValueError, match=r"^expected 5 counts of groups of queries, one per layer .*, each 1 to 65$"
        ):
            seed_cost(tiny("act", q_hashes=4), counted)
    with pytest.raises(ValueError, match=r"^the seed's count is not known for grouped keys; leave group_k out$"):
        seed_cost(tiny("act", q_hashes=4, group_k=True))
    assert choice_counts(tiny("act", q_hashes=4), image((1, 3, 64, 64), "A"))
    assert create("none", tiny().shape).tokens() == (65,) * 5
