"""Latency of what was exported beside the model itself, on this machine's CPU."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial

import torch

from ...reparam import Folded
from ...validate.latency import Latency
from ...validate.measure import measure
from ..artifact import Artifact, NotRun
from ..proof.check import laid_out
from ..saved.engines import fastest
from ..subject import Subject, arguments, model_input, network_input


def latencies(subject: Subject, folded: Folded, artifacts: Sequence[Artifact]) -> dict[str, Latency]:
    """PyTorch as loaded, PyTorch folded, and each artifact that runs here: one picture, one thread, interleaved."""
    runners: dict[str, Callable[[], object]] = {
        name: partial(_forward, module, *arguments(subject.loaded, [values[:1] for values in inputs]))
        for name, module, inputs in (
            ("PyTorch", subject.loaded.module, model_input(subject)),
            ("PyTorch, folded", folded.module, network_input(subject)),
        )
    }
    for artifact in artifacts:
        runner = fastest(artifact)
        if not isinstance(runner, NotRun):
            feed = {name: values[:1] for name, values in laid_out(artifact, subject.feed).items()}
            runners[artifact.path.name] = partial(runner, feed)
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        return measure(runners, threads=1, batch=1)
    finally:
        torch.set_num_threads(threads)


def _forward(module: torch.nn.Module, inputs: tuple[torch.Tensor, ...], named: dict[str, torch.Tensor]) -> object:
    with torch.inference_mode():
        return module(*inputs, **named)
