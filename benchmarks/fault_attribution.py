"""Is a fault in a saved file found, and at the right layer? Seeded faults, one at a time.

    python benchmarks/fault_attribution.py --faults 40 > benchmarks/fault_attribution.md

A fault counts if the file's output is further from the model than the check of an export allows. It is attributed
rightly if the first layer that jumps is the one whose operator was changed (or, where that operator has no counterpart
in PyTorch, the next one that has). The faults themselves are those of the tests.
"""

# pyright: reportMissingImports=false
from __future__ import annotations

import sys
import tempfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import click
import torch
from fuseport import mil
from fuseport.export.artifact import Artifact
from fuseport.export.formats import to_coreml, to_onnx
from fuseport.export.job import Job, Source
from fuseport.export.program import Prepared, prepare
from fuseport.export.proof.layer_parity import compare_layers
from fuseport.export.request import Request
from fuseport.export.saved.points import open_points
from fuseport.export.stages import Stages
from fuseport.export.subject import Subject, network_input, subject
from fuseport.validate.layer_errors import first_jump

sys.path.append(str(Path(__file__).parents[1] / "tests"))
import layer_faults

VARIANTS = ("shvit_s1", "swiftformer_xs", "timm/mobilenetv3_small_050", "timm/vit_tiny_patch16_224")
FORMS: tuple[tuple[str, Any, str, Any], ...] = (
    ("onnx float32", to_onnx, "float32", "all values"),
    ("coreml float32", to_coreml, "float32", "weights"),
    ("coreml float16", to_coreml, "float16", "weights"),
)
FAULTY = {"float32": 1e-4, "float16": 3e-2}
"""Relative L2 error of the output beyond which no check passes."""


@click.command()
@click.option("--variant", "variants", multiple=True, default=VARIANTS)
@click.option("--faults", default=40)
def main(variants: tuple[str, ...], faults: int) -> None:
    torch.set_num_threads(1)
    click.echo("| model | file | faults that a check fails | attributed rightly | wrongly |\n|---|---|---|---|---|")
    for name in variants:
        job = Job(Source(name), ("onnx", "coreml"), Request())
        model = subject(job)
        prepared = prepare(model, job, Stages(lambda stage: None))
        for title, form, precision, rounds in FORMS:
            with tempfile.TemporaryDirectory() as folder:
                good = form.convert(
                    prepared.program,
                    Path(folder) / f"good{form.SUFFIX}",
                    Request(precision=precision),
                    {},
                    input_names=model.input_names,
                    output_names=model.output_names,
                    export_id="0" * 16,
                )
                found = list(_attributed(good, model, prepared, rounds, faults))
            wrong = [told for told in found if told]
            share = (len(found) - len(wrong)) / max(len(found), 1)
            click.echo(f"| {name} | {title} | {len(found)} | {share:.1%} | {'; '.join(wrong) or '–'} |")


def _attributed(good: Artifact, model: Subject, prepared: Prepared, rounds: Any, faults: int) -> Iterator[str]:
    """For each fault that shows in the output: "" if it was attributed rightly, else what happened."""
    feed = {name: values[:1] for name, values in model.feed.items()}
    tensors = open_points(good, feed).tensors
    for seed in range(faults):
        bad = replace(good, path=good.path.with_name(f"bad{good.path.suffix}"))
        broken = layer_faults.break_file(good.path, bad.path, seed)
        if broken is None:
            continue
        kind, places = broken
        try:
            layers = compare_layers(
                bad, prepared.program, feed, [x[:1] for x in network_input(model)], rounds=rounds
            ).layers
        except (mil.MilError, RuntimeError):
            continue  # refused: no check would pass it, and the message names the operator
        except Exception as error:  # onnxruntime's exceptions have no base of their own
            if "onnxruntime" not in type(error).__module__:
                raise
            continue
        if layers[-1].error < FAULTY[good.precision]:
            continue
        jump = first_jump(layers)
        right = layer_faults.readers(places, tensors, {layer.tensor for layer in layers})
        yield "" if jump and jump.tensor in right else f"{kind} at {places[0]} → {jump and jump.tensor}"


if __name__ == "__main__":
    main()
