"""Token reduction for any plain ViT: seven methods, each one file with a NAME, a METHOD and the OPTIONS it takes."""

from __future__ import annotations

import inspect
from typing import Any

from . import act, ats, evit, evo, hourglass, smyrf, tome
from .layer import Reduction, ViTShape

METHODS = (hourglass, evit, tome, act, ats, evo, smyrf)
BY_NAME = {method.NAME: method for method in METHODS}


def create(name: str, shape: ViTShape, **options: Any) -> Reduction[Any]:
    """The method of that name for a ViT of that shape; "none" keeps all tokens.

    Raises ValueError in one line if the name or an option is unknown, missing, or out of range.
    """
    if name not in ("none", *BY_NAME):
        raise ValueError(f"unknown token reduction {name!r}; known: none, {', '.join(BY_NAME)}")
    known = BY_NAME[name].OPTIONS if name in BY_NAME else {}
    unknown = [option for option in options if option not in known]
    if unknown:
        raise ValueError(f"{name} has no option {unknown[0]!r}; it takes {', '.join(known) or 'none'}")
    if name == "none":
        return Reduction(shape)
    method = BY_NAME[name].METHOD
    missing = [option for option in known if _is_needed(method, option) and option not in options]
    if missing:
        raise ValueError(f"{name} needs the option {missing[0]!r}: {known[missing[0]]}")
    return method(shape, **options)


def _is_needed(method: type, option: str) -> bool:
    return inspect.signature(method).parameters[option].default is inspect.Parameter.empty
