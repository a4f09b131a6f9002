"""How long does it take to compare every tensor of a file with the model's, beyond the forwards that it needs?

    OMP_NUM_THREADS=1 python benchmarks/layer_parity.py                      # shvit_s1, median of 3
    OMP_NUM_THREADS=1 python benchmarks/layer_parity.py --variant vit_l16_in1k --image-size 224 --memory

Three forwards are needed whatever does the comparison: the model's own in float64, the model on the file's tensors, and
the file's. They are timed by themselves (three float64 runs of the program, one of the file with nothing kept) and
taken off. A time counts processor seconds of one thread, so that a busy machine does not change it by much. With
`--memory` the peak of the process is read before and after a comparison that holds --held MiB of values (Linux).
"""

from __future__ import annotations

import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click
import torch
from big_models import peak_bytes
from fuseport import mil
from fuseport.export.artifact import Artifact
from fuseport.export.formats import to_coreml, to_onnx
from fuseport.export.job import Job, Source
from fuseport.export.program import prepare
from fuseport.export.proof.forced import Stream, run_alone
from fuseport.export.proof.layer_parity import Comparison, compare_layers
from fuseport.export.request import Request
from fuseport.export.stages import Stages
from fuseport.export.subject import network_input, subject
from fuseport.validate.layer_errors import first_jump

FILES: tuple[tuple[Any, str, Any], ...] = (
    (to_onnx, "float32", "all values"),
    (to_coreml, "float32", "weights"),
    (to_coreml, "float16", "weights"),
    (to_coreml, "float16", "all values"),
)


@click.command()
@click.option("--variant", default="shvit_s1")
@click.option("--image-size", type=int)
@click.option("--rounds", default=3, help="The median of so many (3).")
@click.option("--memory", is_flag=True, help="Peak memory instead of time, of the ONNX file.")
@click.option("--held", default=256, help="MiB of values that are held at a time (256).")
def main(variant: str, image_size: int | None, rounds: int, memory: bool, held: int) -> None:
    torch.set_num_threads(1)
    job = Job(Source(variant, image_size=image_size), (), Request())
    model = subject(job)
    program = prepare(model, job, Stages(lambda stage: None)).program
    feed = {name: values[:1] for name, values in model.feed.items()}
    inputs = [values[:1] for values in network_input(model)]
    names = {"input_names": model.input_names, "output_names": model.output_names, "export_id": "0" * 16}
    with tempfile.TemporaryDirectory() as folder:
        for form, precision, rounding in FILES[:1] if memory else FILES:
            path = Path(folder) / f"{precision}{form.SUFFIX}"
            made = form.convert(program, path, Request(precision=precision), {}, **names)

            def compared(made: Artifact = made, rounding: Any = rounding) -> Comparison:
                return compare_layers(made, program, feed, inputs, rounds=rounding, held_bytes=held * 2**20)

            if memory:
                _print_memory(variant, compared, held)
                continue
            compared()  # what is legalized is kept, and the runtimes are loaded
            whole = _median(rounds, compared)
            forwards = _median(rounds, lambda: _model(program, inputs)) + _median(rounds, _file(made, feed, rounding))
            found = compared()
            click.echo(
                f"| {variant} | {form.NAME} {precision}, {rounding} | {len(found.layers)} | {whole:.2f} | "
                f"{forwards:.2f} | {whole - forwards:.2f} | {first_jump(found.layers) or '–'} |"
            )


def _model(program: Any, inputs: list[torch.Tensor]) -> None:
    for _ in range(3):
        run_alone(program, inputs, Stream(torch.float64, None, None))


def _file(made: Artifact, feed: dict[str, Any], rounding: Any) -> Callable[[], object]:
    if made.format == to_onnx.NAME:
        run = to_onnx.runner(made)
        assert callable(run)
        return lambda: run(feed)
    model = mil.load(made.path)
    mode = "exact" if rounding == "weights" else "declared"
    return lambda: model.predict(feed, mode=mode)


def _median(rounds: int, run: Callable[[], object]) -> float:
    return statistics.median(_seconds(run) for _ in range(rounds))


def _seconds(run: Callable[[], object]) -> float:
    begin = time.process_time()
    run()
    return time.process_time() - begin


def _print_memory(variant: str, compared: Callable[[], Comparison], held: int) -> None:
    before = peak_bytes() / 2**20
    found = compared()
    values = sum(8 * torch.Size(layer.shape).numel() for layer in found.layers) / 2**20
    click.echo(f"{variant}: {len(found.layers)} tensors, {values:,.0f} MiB of values in float64, {held} MiB at a time")
    click.echo(f"peak before {before:,.0f} MiB (load, capture, fold, convert), after {peak_bytes() / 2**20:,.0f} MiB")


if __name__ == "__main__":
    main()
