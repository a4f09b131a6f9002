"""A family of one small variant, for tests that run the whole pipeline in a second or two."""

from __future__ import annotations

from functools import partial
from types import ModuleType

import pytest
from fuseport import models
from fuseport.models import shvit
from fuseport.models.shvit import SHViT
from fuseport.models.variant import Preprocessing, Variant

TINY = Variant(
    name="shvit_tiny",
    family="tiny",
    build=partial(SHViT, (16, 24, 32), (1, 1, 1), (None, 16, 16)),
    preprocessing=Preprocessing(size=64, resize=72),
    parameters=1,
    macs=1,
    model_args=shvit.VARIANTS[0].model_args,
)


def family() -> ModuleType:
    """A family of `TINY` alone."""
    made = ModuleType("tiny")
    made.VARIANTS = (TINY,)  # pyright: ignore
    made.is_timm, made.from_timm, made.is_fused = shvit.is_timm, shvit.from_timm, shvit.is_fused  # pyright: ignore
    return made


@pytest.fixture
def tiny(monkeypatch: pytest.MonkeyPatch) -> Variant:
    """`shvit_tiny` in the table of variants, for the duration of a test."""
    monkeypatch.setattr(models, "FAMILIES", (*models.FAMILIES, family()))
    return TINY
