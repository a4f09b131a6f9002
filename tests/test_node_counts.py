"""How many operators the files of folded models have: no more than the best other route, or less, model by model."""

from __future__ import annotations

from pathlib import Path

import pytest
import timm
import torch
from fuseport.export.formats import to_coreml, to_onnx
from fuseport.export.request import Request
from fuseport.models.conditioned import fill_conditioned_
from fuseport.reparam import RULES, capture, fold

ONNX_NODES = {
    "mobilenetv4_conv_small": 89,
    "fastvit_t8": 92,
    "swiftformer_l1": 240,
    "shvit_s4": 330,
    "efficientformerv2_s0": 215,
    "repvit_m0_9": 198,
}
COREML_OPERATIONS = {"shvit_s4": 320, "swiftformer_l1": 220}
QUICK = ("mobilenetv4_conv_small", "fastvit_t8")


@pytest.mark.filterwarnings("ignore:The tensor attributes self.stages")  # a cache of EfficientFormerV2 in timm
@pytest.mark.parametrize(
    "name", [name if name in QUICK else pytest.param(name, marks=pytest.mark.slow) for name in ONNX_NODES]
)
def test_a_folded_model_of_timm_has_no_batch_norm_and_few_operators(name: str, tmp_path: Path) -> None:
    module = timm.create_model(name).eval()
    size = module.pretrained_cfg["input_size"]  # pyright: ignore
    fill_conditioned_(module, picture=size)
    picture = torch.randn(1, *size, generator=torch.Generator().manual_seed(0))
    result = fold(capture(module, (picture,)), RULES)
    assert result.before.batch_norms > 0
    assert result.after.batch_norms == 0
    program = torch.export.export(result.module, (picture,), strict=False)
    for form, bars in ((to_onnx, ONNX_NODES), (to_coreml, COREML_OPERATIONS)):
        if name in bars:
            target = tmp_path / f"{name}{form.SUFFIX}"
            made = form.convert(
                program, target, Request(), {}, input_names=("x",), output_names=("y",), export_id="counted"
            )
            assert sum(made.operations.values()) <= bars[name]
