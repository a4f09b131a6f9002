"""Convert a model to files for a phone, prove them, and report: the part that joins all others.

A format is one file with `NAME`, `SUFFIX`, `EXTRA`, `check`, `convert` and `runner`, and one name in the tuple below.
None of them loads its backend library before it is used.
"""

from __future__ import annotations

from . import to_coreml, to_onnx

FORMATS = {form.NAME: form for form in (to_onnx, to_coreml)}
