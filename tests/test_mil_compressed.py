"""Packages compressed by coremltools' optimizer: every weight decodes to what coremltools itself makes of the file."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import mil_networks
import numpy as np
import pytest
import torch
from fuseport import mil
from fuseport.mil.arithmetic import arithmetic
from fuseport.mil.interpreter import Interpreter


@pytest.fixture(scope="module")
def converted() -> Any:
    """coremltools' model of the small network, float16, at iOS16 and iOS18."""
    logging.getLogger("coremltools").setLevel(logging.CRITICAL)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        import coremltools as ct

        program = torch.export.export(mil_networks.Mixed().eval(), (mil_networks.inputs(1),)).run_decompositions({})
        return {
            target: ct.convert(program, minimum_deployment_target=ct.target[target], skip_model_load=True)
            for target in ("iOS16", "iOS18")
        }


def config(kind: str, **options: object) -> Any:
    import coremltools.optimize.coreml as cto

    return cto.OptimizationConfig(getattr(cto, kind)(weight_threshold=64, **options))


def palettized(model: Any, **options: object) -> Any:
    import coremltools.optimize.coreml as cto

    return cto.palettize_weights(model, config("OpPalettizerConfig", mode="uniform", **options))


def quantized(model: Any, joint: bool = False, **options: object) -> Any:
    import coremltools.optimize.coreml as cto

    return cto.linear_quantize_weights(model, config("OpLinearQuantizerConfig", **options), joint_compression=joint)


def pruned(model: Any) -> Any:
    import coremltools.optimize.coreml as cto

    return cto.prune_weights(model, config("OpMagnitudePrunerConfig", target_sparsity=0.5))


GROUPED = {"granularity": "per_grouped_channel", "group_size": 8}
BLOCKS = {"granularity": "per_block", "block_size": 8}
METHODS: dict[str, tuple[str, Callable[[Any], Any], str]] = {
    "palette of 16": ("iOS16", lambda m: palettized(m, nbits=4), "constexpr_lut_to_dense"),
    "palette of 64": ("iOS16", lambda m: palettized(m, nbits=6), "constexpr_lut_to_dense"),
    "palette of 4, iOS18": ("iOS18", lambda m: palettized(m, nbits=2), "constexpr_lut_to_dense"),
    "palettes of 8 by groups": ("iOS18", lambda m: palettized(m, nbits=3, **GROUPED), "constexpr_lut_to_dense"),
    "int8": ("iOS16", lambda m: quantized(m, mode="linear", dtype="int8"), "constexpr_affine_dequantize"),
    "uint8 per tensor": (
        "iOS16",
        lambda m: quantized(m, mode="linear", dtype="uint8", granularity="per_tensor"),
        "constexpr_affine_dequantize",
    ),
    "int4 by blocks": (
        "iOS18",
        lambda m: quantized(m, mode="linear_symmetric", dtype="int4", **BLOCKS),
        "constexpr_blockwise_shift_scale",
    ),
    "uint4 by blocks": (
        "iOS18",
        lambda m: quantized(m, mode="linear", dtype="uint4", **BLOCKS),
        "constexpr_blockwise_shift_scale",
    ),
    "sparse": ("iOS16", pruned, "constexpr_sparse_to_dense"),
    "sparse, iOS18": ("iOS18", pruned, "constexpr_sparse_to_dense"),
    "sparse int8": (
        "iOS18",
        lambda m: quantized(pruned(m), joint=True, mode="linear_symmetric", dtype="int8"),
        "constexpr_sparse_blockwise_shift_scale",
    ),
}


def by_coremltools(path: Path) -> dict[str, np.ndarray]:
    """The value of each compressed constant as coremltools' own reader and formulas give it."""
    import coremltools as ct
    from coremltools.converters.mil.frontend.milproto.load import load

    spec: Any = ct.utils.load_spec(str(path))
    weights = path / "Data" / "com.apple.CoreML" / "weights"
    program: Any = load(spec, spec.specificationVersion, file_weights_dir=str(weights))
    found = {}
    for operation in program.functions["main"].operations:
        if operation.op_type.startswith("constexpr_"):
            values = operation.materialized_val_inference()
            values = values if isinstance(values, tuple | list) else [values]
            found.update({o.name: np.asarray(v) for o, v in zip(operation.outputs, values, strict=True)})
    return found


@pytest.mark.parametrize("method", METHODS)
def test_weights_decode_as_coremltools_does(converted: Any, tmp_path: Path, method: str) -> None:
    target, compress, operator = METHODS[method]
    path = tmp_path / "m.mlpackage"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        compress(converted[target]).save(str(path))
        expected = by_coremltools(path)
    model = mil.load(path)
    assert operator in {o.type for o in model.function.block.walk()}
    decoded = {}
    for step in Interpreter(model.function, arithmetic("declared")).plan.steps:
        for key, bindings in step.operation.inputs.items():
            if len(bindings) == 1 and bindings[0] in expected and isinstance(step.fixed.get(key), torch.Tensor):
                decoded[bindings[0]] = step.fixed[key].numpy()
    assert len(decoded) >= 5
    for name, found in decoded.items():
        np.testing.assert_array_equal(found.astype(np.float16), expected[name].astype(np.float16), err_msg=name)
    (output,) = model.predict({model.inputs[0].name: mil_networks.inputs(1)}).values()
    assert np.isfinite(output).all()
