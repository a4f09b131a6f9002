"""The model families, one file each, and the table of their variants; beside them every architecture of timm.

A family is a module with `VARIANTS`, `is_timm(keys)`, `from_timm(state_dict)` and `is_fused(keys)`. Where not timm but
another library publishes the same weights, it is named in `LAYOUT`; where a checkpoint needs more than other names,
`fitted(state_dict, model)` adapts it. A new family is one file and one name in `FAMILIES`.
"""

from __future__ import annotations

import difflib
import inspect
from typing import TYPE_CHECKING

from . import shvit, swag, swiftformer
from .variant import Variant

if TYPE_CHECKING:
    from torch import nn

FAMILIES = (shvit, swiftformer, swag)
TIMM_PREFIX = "timm/"


class UnknownVariantError(ValueError):
    """A name that is in no family's table; the message has the names that come close, and all known ones."""


def variants() -> dict[str, Variant]:
    """Every variant by its name, family by family, small to large."""
    return {variant.name: variant for family in FAMILIES for variant in family.VARIANTS}


def find(name: str) -> Variant:
    """The variant of that name: one of the table, or `timm/NAME`. Raises UnknownVariantError."""
    known = variants()
    if name in known:
        return known[name]
    if name.startswith(TIMM_PREFIX):
        return _of_timm(name)
    close = difflib.get_close_matches(name.lower(), known, n=3)
    hint = f" (did you mean {' or '.join(close)}?)" if close else ""
    raise UnknownVariantError(f"unknown variant {name!r}{hint}; known: {', '.join(known)}, and {TIMM_PREFIX}NAME")


def _of_timm(name: str) -> Variant:
    from . import timm_models

    try:
        return timm_models.variant(name)
    except timm_models.UnknownArchitectureError as error:
        raise UnknownVariantError(str(error)) from error


def create(name: str, *, num_classes: int | None = None, in_chans: int = 3, **model_args: object) -> nn.Module:
    """A freshly initialised model in evaluation mode, by default with the classes of its published weights.

    `num_classes=0` leaves the classifier out.

    Raises ValueError for an unknown name, for an option that the variant does not have, or for a value it cannot take.
    """
    variant = find(name)
    num_classes = variant.num_classes if num_classes is None else num_classes
    _require_count("num_classes", num_classes, least=0)
    _require_count("in_chans", in_chans, least=1)
    for option, value in model_args.items():
        _require_option(variant, option, value)
    return variant.build(num_classes=num_classes, in_chans=in_chans, **model_args).eval()


def _require_count(option: str, value: object, *, least: int) -> None:
    if not isinstance(value, int) or isinstance(value, bool) or value < least:
        raise ValueError(f"{option} must be a whole number of at least {least}; got {value!r}")


def _require_option(variant: Variant, option: str, value: object) -> None:
    """Raise ValueError if `variant` has no such option, or if a switch gets anything but True or False.

    What an architecture of timm takes, timm alone knows.
    """
    if variant.name.startswith(TIMM_PREFIX):
        return
    if option not in variant.model_args:
        known = ", ".join(variant.model_args) or "none"
        raise ValueError(f"{variant.name} has no option {option!r}; its options: {known}")
    known = inspect.signature(variant.build).parameters  # a family that takes **options checks them itself
    default = known[option].default if option in known else None
    if isinstance(default, bool) and not isinstance(value, bool):
        raise ValueError(f"option {option} of {variant.name} must be True or False; got {value!r}")
