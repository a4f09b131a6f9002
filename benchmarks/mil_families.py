"""Twenty families of timm, SHViT and SwiftFormer: the executor, ONNX Runtime and PyTorch on the same converted weights.

    python benchmarks/mil_families.py --out benchmarks/mil_families.md

Each model gets conditioned weights and is converted to a float32 package (iOS16). Rows of models that are not asked for
stay in the table. Relative L2 errors of the logits of
two pictures, worst of both:

    floor      PyTorch float32 against PyTorch float64: what float32 itself costs
    declared   the executor in declared mode against PyTorch float64
    exact      the executor in exact mode against PyTorch float64: what conversion changed
    engine     the lowered program in ONNX Runtime against PyTorch float64
    onnx       torch.onnx.export of the same module in ONNX Runtime against PyTorch float64 (no Core ML involved)

A row agrees when declared, exact and engine stay within 20 floors, or 20 times what torch.onnx leaves, if that is more.
"""

from __future__ import annotations

import argparse
import io
import logging
import tempfile
import time
import warnings
from collections.abc import Callable
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path
from typing import Any

import numpy as np
import torch
from fuseport import mil, models
from fuseport.export.lowering.legalize import legalize
from fuseport.models.conditioned import drawn_pictures, fill_conditioned_

FAMILIES = [
    "shvit_s1",
    "shvit_s4",
    "swiftformer_xs",
    "swiftformer_l1",
    "resnet18",
    "regnety_002",
    "densenet121",
    "mobilenetv2_050",
    "mobilenetv3_small_100",
    "mobilenetv4_conv_small",
    "efficientnet_b0",
    "mnasnet_small",
    "ghostnet_100",
    "repvgg_a0",
    "convnext_atto",
    "convnextv2_atto",
    "poolformer_s12",
    "efficientformer_l1",
    "efficientvit_b0",
    "levit_128s",
    "vit_tiny_patch16_224",
    "swin_tiny_patch4_window7_224",
    "mobilevit_xxs",
    "mobilevitv2_050",
    "edgenext_xx_small",
    "fastvit_t8",
    "repvit_m0_9",
    "starnet_s1",
    "mambaout_femto",
    "xcit_nano_12_p16_224",
    "mixer_b16_224",
]


HEAD = ("| model | floor | declared | exact | engine | onnx | | ran by |", "| --- " * 8 + "|")


def build(name: str) -> tuple[torch.nn.Module, torch.Tensor]:
    """The model with conditioned weights, and two pictures."""
    if name in models.variants():
        module, size = models.create(name), models.find(name).preprocessing.size
    else:
        import timm

        module = timm.create_model(name)
        size = module.default_cfg["input_size"][-1]
    module.eval()
    fill_conditioned_(module, picture=(3, size, size))
    return module.float(), drawn_pictures((2, 3, size, size)).float()


def convert(module: torch.nn.Module, x: torch.Tensor, folder: Path) -> tuple[Path, Path]:
    """The package, and torch's own ONNX file."""
    import coremltools as ct

    program = torch.export.export(module, (x,))
    options: dict[str, Any] = {
        "inputs": [ct.TensorType(name="x", shape=x.shape)],
        "minimum_deployment_target": ct.target.iOS16,
        "compute_precision": ct.precision.FLOAT32,
        "skip_model_load": True,
    }
    converted: Any = ct.convert(legalize(program), **options)
    converted.save(str(folder / "m.mlpackage"))
    torch.onnx.export(program, (x,), str(folder / "m.onnx"), dynamo=True, external_data=False, verbose=False)
    return folder / "m.mlpackage", folder / "m.onnx"


def worst(found: np.ndarray, truth: np.ndarray) -> float:
    """Largest relative L2 error over the samples."""
    return float((np.linalg.norm(found - truth, axis=1) / np.linalg.norm(truth, axis=1)).max())


def measure(name: str, folder: Path) -> dict[str, Any]:
    """One row of the table."""
    import onnxruntime

    module, x = build(name)
    package, file = convert(module, x, folder)
    model = mil.load(package)
    engine = mil.accelerate(model)
    session = onnxruntime.InferenceSession(str(file), providers=["CPUExecutionProvider"])
    with torch.inference_mode():
        reference = module(x).double().numpy()
        truth = module.double()(x.double()).numpy()
    answers: dict[str, Callable[[], Any]] = {
        "declared": lambda: model.predict({"x": x}),
        "exact": lambda: model.predict({"x": x}, mode="exact"),
        "engine": lambda: engine.predict({"x": x}),
        "onnx": lambda: {"y": session.run(None, {session.get_inputs()[0].name: x.numpy()})[0]},
    }
    row: dict[str, Any] = {"floor": worst(reference, truth)}
    for key, answer in answers.items():
        row[key] = worst(next(iter(answer().values())), truth)
    bound = 20 * max(row["floor"], row["onnx"])
    row["agrees"] = all(row[key] <= bound for key in ("declared", "exact", "engine"))
    row["ran"] = engine.ran
    return row


def main() -> None:
    parser = argparse.ArgumentParser(description="families of timm through the executor")
    parser.add_argument("--models", nargs="+", default=FAMILIES)
    parser.add_argument("--out", type=Path)
    asked = parser.parse_args()
    warnings.simplefilter("ignore")
    logging.disable(logging.CRITICAL)
    torch.set_num_threads(1)
    rows = _kept(asked.out)
    for name in asked.models:
        began = time.perf_counter()
        with tempfile.TemporaryDirectory() as folder:
            try:
                with redirect_stdout(io.StringIO()), redirect_stderr(io.StringIO()):
                    row = measure(name, Path(folder))
            except Exception as error:  # a model that does not convert is a row of the table too
                rows[name] = f"| {name} | not converted: {' '.join(str(error).split())[:150]} |" + " |" * 6
            else:
                figures = " | ".join(f"{row[k]:.1e}" for k in ("floor", "declared", "exact", "engine", "onnx"))
                rows[name] = f"| {name} | {figures} | {'agrees' if row['agrees'] else 'DISAGREES'} | {row['ran']} |"
        print(rows[name], f"{time.perf_counter() - began:.0f} s", flush=True)
        if asked.out:
            asked.out.write_text("\n".join([*HEAD, *rows.values()]) + "\n")


def _kept(out: Path | None) -> dict[str, str]:
    """Rows by model of the table that is there, so that some models can be measured anew."""
    lines = out.read_text().splitlines()[len(HEAD) :] if out and out.exists() else []
    return {line.split("|")[1].strip(): line for line in lines}


if __name__ == "__main__":
    main()
