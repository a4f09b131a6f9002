"""ACT: golden cases, the 64-bit codes without 64-bit integers, and shared attention."""

from __future__ import annotations

import pytest
import torch
from fuseport.models.tokens.act import ACT, BUCKET, Buckets, code_limbs
from golden_weights import assert_close, image, signed, uniform
from swag_golden import ACT_UNIT, assert_golden, cases, tiny
from torch import Tensor


@pytest.mark.parametrize("name", cases("act"))
def test_golden(name: str) -> None:
    assert_golden(name)


def signed_64_bit(limbs: tuple[Tensor, ...]) -> Tensor:
    """The code as an integer; shifting the highest limb wraps around, as the seed's does."""
    code = torch.zeros_like(limbs[0], dtype=torch.int64)
    for place, limb in enumerate(limbs):
        code |= limb.to(torch.int64) << (16 * place)
    return code


@pytest.mark.parametrize("name", ACT_UNIT)
def test_golden_codes_and_groups(name: str) -> None:
    unit = ACT_UNIT[name]
    shape = (2, unit["tokens"], unit["dim"])
    vectors = unit["scale"] * torch.from_numpy(signed("act_unit.V", shape, "A")).float()
    weight = torch.from_numpy(signed("act_unit.weight", (unit["dim"], unit["n_hashes"]), "A")).float()
    bias = torch.from_numpy(uniform("act_unit.bias", (unit["n_hashes"],), "A")).float()

    digits = torch.floor((vectors @ weight + bias) / BUCKET)
    digits = digits - digits.amin(1, keepdim=True)
    codes = signed_64_bit(code_limbs(digits))
    assert [[str(int(code)) for code in row[:8]] for row in codes] == unit["codes_first8"]

    same = Buckets(weight, bias)(vectors.unsqueeze(0))[0]
    for row, groups, clusters, vectors_apart in zip(
        same, unit["groups"], unit["num_clusters"], unit["digit_vector_clusters"], strict=True
    ):
        numbers = torch.tensor(groups)
        assert torch.equal(row, numbers[:, None] == numbers)
        assert len(row.unique(dim=0)) == clusters <= vectors_apart


def test_limbs_equal_wrapped_integers_up_to_their_range() -> None:
    digits = torch.randint(768, (500, 32), generator=torch.Generator().manual_seed(0)).float()
    digits[0] = 767  # the largest sum that a limb holds exactly
    expected = (digits.to(torch.int64) << (2 * torch.arange(32))).sum(-1)
    assert torch.equal(signed_64_bit(code_limbs(digits)), expected)
    assert torch.equal(
        signed_64_bit(code_limbs(digits[:, :5])), (digits[:, :5].to(torch.int64) << torch.arange(0, 10, 2)).sum(-1)
    )


def test_a_bucket_of_its_own_for_each_query_is_plain_attention() -> None:
    x = image((1, 3, 64, 64), "A")
    model = tiny("act", q_hashes=32)
    assert isinstance(model.reduction, ACT)
    for buckets in model.reduction.group_q.values():
        buckets.weight.mul_(1000)
    with torch.inference_mode():
        assert_close(model(x), tiny()(x), 1e-5)


def test_equal_queries_share_a_bucket() -> None:
    model = tiny("act", q_hashes=8)
    assert isinstance(model.reduction, ACT)
    assert model.reduction.group_q["0"](torch.ones(1, 4, 9, 12)).all()


def test_the_draws_are_frozen_by_the_seed_and_are_no_part_of_the_checkpoint() -> None:
    x = image((1, 3, 64, 64), "A")
    with torch.inference_mode():
        one, again, other = (tiny("act", q_hashes=8, seed=seed)(x) for seed in (0, 0, 1))
    assert torch.equal(one, again)
    assert not torch.equal(one, other)
    assert tiny("act", q_hashes=8).state_dict().keys() == tiny().state_dict().keys()


def test_drawn_on_the_cpu_even_on_the_meta_device() -> None:
    with torch.device("meta"):
        built = tiny_on_meta()
    for index, buckets in tiny("act", q_hashes=8).reduction.group_q.items():
        assert torch.equal(built.group_q[index].weight, buckets.weight)


def tiny_on_meta() -> ACT:
    from fuseport.models.swag_vit import vit_shape
    from swag_golden import TINY

    return ACT(vit_shape(TINY), q_hashes=8)


def test_choices_name_the_first_query_of_each_bucket() -> None:
    model = tiny("act", q_hashes=5, first_layer=2, last_layer=4, choices=True)
    with torch.inference_mode():
        _, *choices = model(image((2, 3, 64, 64), "A"))
    assert [labels.shape for labels in choices] == [(2, 4, 65)] * 2
    for labels in choices:
        assert (labels[..., 0] == 1).all()
        assert (labels <= torch.arange(1, 66)).all()
        assert (labels.gather(-1, (labels - 1).long()) == labels).all()
