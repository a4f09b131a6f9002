"""Convert a model to files for a phone, prove them, and report: the part that joins all others.

A format is one file with `NAME`, `SUFFIX`, `EXTRA`, `check`, `convert` and `runner`, and one name in the tuple below.
None of them loads its backend library before it is used.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from .formats import to_coreml, to_onnx

if TYPE_CHECKING:
    from .api import export_model

__all__ = ["FORMATS", "export_model"]

FORMATS = {form.NAME: form for form in (to_onnx, to_coreml)}


def __getattr__(name: str) -> Any:
    """`export_model`, loaded when it is asked for, since it needs torch."""
    if name == "export_model":
        from .api import export_model

        return export_model
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
