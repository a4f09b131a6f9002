"""The variants that the contract tests go through: the small families as they are, SWAG in tiny configurations.

A tiny SWAG variant is a real one in all but its width, depth and picture: what a method does at full size it does here.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from functools import partial

import pytest
from _pytest.mark import ParameterSet
from fuseport.models import FAMILIES, swag, variants
from fuseport.models.variant import Variant
from golden_weights import load_golden_
from swag_golden import TINY
from test_tokens_layer import SETTINGS
from torch import nn

SMALL_FAMILIES = tuple(family for family in FAMILIES if family is not swag)
FULL_SIZE = {name: variant for name, variant in variants().items() if variant.family != "swag"}
"""Variants that a test may build and run at their full size."""


def _tiny(method: str) -> Variant:
    like = next(variant for variant in swag.VARIANTS if variant.build.args[1] == method)  # pyright: ignore
    return replace(
        like,
        name=like.name.replace("b16", "tiny"),
        build=partial(swag.build, TINY, method, **SETTINGS[method]),
        preprocessing=replace(like.preprocessing, size=TINY.image, resize=TINY.image),
    )


TINY_SWAG = {variant.name: variant for variant in map(_tiny, ("none", *swag.BY_NAME))}
CONTRACT = {**FULL_SIZE, **TINY_SWAG}

DAILY = {"shvit_s1", "swiftformer_xs", *TINY_SWAG}
"""Variants that heavy tests always run; the others, which differ in width and depth alone, are marked slow there."""


def daily_first(names: Iterable[str]) -> list[ParameterSet]:
    """Parameters of a heavy test: each name, slow unless it is a daily one."""
    return [pytest.param(name, marks=() if name in DAILY else pytest.mark.slow) for name in names]


def built(variant: Variant, **options: object) -> nn.Module:
    """The variant with golden weights, in evaluation mode."""
    return load_golden_(variant.build(**{"num_classes": 1000, "in_chans": 3, **options}).eval())
