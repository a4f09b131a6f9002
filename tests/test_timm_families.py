"""Ten families of timm, shortened, through the whole exporter: `benchmarks/census.py` does it for all of them."""

from __future__ import annotations

from pathlib import Path

import pytest
from fuseport.export.artifact import NotRun
from fuseport.export.job import Checks, Job, Source
from fuseport.export.pipeline import export
from fuseport.export.request import Request

ONE_OF_EACH = (1, 1, 1, 1)
SWIN = {"window_size": 4, "depths": (1, 2), "num_heads": (2, 4), "embed_dim": 32}

FAMILIES: tuple[tuple[str, dict[str, object], bool], ...] = (
    ("resnet18", {"layers": ONE_OF_EACH}, False),
    ("vit_tiny_patch16_224", {"depth": 2}, True),
    ("convnext_atto", {"depths": ONE_OF_EACH}, False),
    ("mobilenetv3_small_050", {}, False),
    ("fastvit_t8", {"layers": ONE_OF_EACH}, True),
    ("starnet_s050", {"depths": ONE_OF_EACH}, False),
    ("fasternet_t0", {"depths": ONE_OF_EACH}, False),
    ("swin_tiny_patch4_window7_224", SWIN, False),
    ("repvit_m0_9", {"depth": ONE_OF_EACH}, False),
    ("densenet121", {"block_config": (2, 2)}, False),
)
"""Architecture, what shortens it, and whether it becomes a Core ML package as well."""


@pytest.mark.parametrize(("name", "shorter", "core_ml"), FAMILIES, ids=[row[0] for row in FAMILIES])
def test_a_family_is_folded_converted_and_proven(
    tmp_path: Path, name: str, shorter: dict[str, object], *, core_ml: bool
) -> None:
    source = Source(f"timm/{name}", num_classes=5, image_size=64, model_args=shorter)
    formats = ("onnx", "coreml") if core_ml else ("onnx",)
    report = export(Job(source, formats, Request(), Checks(samples=2), output_dir=tmp_path))
    assert report.outcome == "passed", report.reason
    assert report.folded.after.batch_norms == 0
    assert report.folded.error < 1e-10
    verdicts = [
        (check.engine, "" if isinstance(check.parity, NotRun) else check.parity.verdict)
        for result in report.results
        for check in result.checks
        if not check.engine.startswith("Core ML")
    ]
    assert all(verdict == "passed" for _, verdict in verdicts), verdicts
    assert len(verdicts) == (3 if core_ml else 1)
