"""How many tokens of SMYRF change their chunk in a float16 file, beside what the distances of their keys foretell.

    OMP_NUM_THREADS=1 python benchmarks/smyrf_moves.py --image-size 160

Tokens are sorted by their keys and cut into chunks. At a cut two neighbours change places where the difference of their
errors exceeds their distance: with d keys per unit around the cut and errors e that are small beside 1 / d this happens
with probability d E|e1 - e2| / 2, and to two labels. Keys are the model's in float64, errors those of the keys that the
file sorted (the executor, rounding as declared), so deeper layers have the errors that earlier ones handed on.
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path

import numpy as np
import torch
from fuseport import mil
from fuseport.export.formats import to_coreml
from fuseport.export.job import Checks, Job, Source
from fuseport.export.program import prepare
from fuseport.export.request import Request
from fuseport.export.stages import Stages
from fuseport.export.subject import Subject, subject
from fuseport.models.tokens.smyrf import SMYRF, SortedOrder
from numpy.typing import NDArray

NEAR = 8
"""So many keys on either side of a cut tell how dense they are there."""

Keys = NDArray[np.float64]
"""Of one layer's queries: (rounds, heads, tokens)."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--variant", default="smyrf_vit_b16_in1k")
    parser.add_argument("--image-size", type=int, default=160)
    options = parser.parse_args()
    torch.set_num_threads(1)
    job = Job(Source(options.variant, image_size=options.image_size), (), Request(), Checks(samples=1))
    model = subject(job)
    made, cluster = keys_of_file(model, job), model.loaded.module.reduction.cluster
    print("| sorted layer | labels | changed | foretold |\n|---:|---:|---:|---:|")
    for layer, keys in enumerate(keys_of_model(model)):
        ours = min(made, key=lambda found: float(np.abs(found - keys).mean()))
        changed = int(np.sum(labels(ours, cluster) != labels(keys, cluster)))
        print(f"| {layer + 1} | {keys.size:,} | {changed:,} | {foretold(keys, ours - keys, cluster):,.0f} |")


def keys_of_model(model: Subject) -> list[Keys]:
    """By which each layer sorts its queries, in float64. The module is changed to float64."""
    module = model.loaded.module.double()
    assert isinstance(module.reduction, SMYRF)
    found: list[Keys] = []
    for order in module.reduction.order.values():
        assert isinstance(order, SortedOrder)
        order.register_forward_hook(lambda own, given, _: found.append(queries(own, *given)))
    (pictures,) = model.feed.values()
    with torch.no_grad():
        module(torch.from_numpy(pictures).double())
    return found


def queries(order: torch.nn.Module, q: torch.Tensor, k: torch.Tensor) -> Keys:
    """As `SortedOrder` lifts and projects them."""
    length = q.square().sum(-1, keepdim=True)
    common = length.amax(1, keepdim=True) + k.square().sum(-1, keepdim=True).amax(1, keepdim=True)
    lifted = torch.cat((q, torch.zeros_like(length), (common - length).sqrt()), -1)
    return (lifted @ order.get_buffer("alpha").to(q)).permute(2, 0, 1).numpy()


def keys_of_file(model: Subject, job: Job) -> list[Keys]:
    """All that is sorted in the float16 package of the model."""
    names = {"input_names": model.input_names, "output_names": model.output_names, "export_id": "0" * 16}
    with tempfile.TemporaryDirectory() as folder:
        program = prepare(model, job, Stages(lambda stage: None)).program
        made = to_coreml.convert(program, Path(folder) / "model.mlpackage", Request(precision="float16"), {}, **names)
        package = mil.load(made.path)
        sorts = [step for step in package.function.block.operations if step.type == "argsort"]
        read = {name for step in sorts for name in step.reads()}
        return [value.astype(np.float64) for _, value in package.stream(model.feed, read) if value.dtype.kind == "f"]


def labels(keys: Keys, cluster: int) -> NDArray[np.int64]:
    """The number of the chunk that each token falls into."""
    place = keys.argsort(axis=-1, kind="stable").argsort(axis=-1, kind="stable")
    return (place + starts(keys)) // cluster


def starts(keys: Keys) -> NDArray[np.int64]:
    """The place of each row's first token in the one long list that is cut."""
    rounds, rows, size = keys.shape
    return np.arange(rounds * rows).reshape(rounds, rows, 1) * size


def foretold(keys: Keys, error: Keys, cluster: int) -> float:
    """The labels that should change, by the density of the keys around each cut and the errors there."""
    size = keys.shape[-1]
    apart = np.abs(np.diff(np.take_along_axis(error, keys.argsort(axis=-1), axis=-1), axis=-1))
    summed = np.concatenate([np.zeros_like(apart[..., :1]), apart.cumsum(axis=-1)], axis=-1)
    cut = np.arange(1, size)
    low, high = np.maximum(cut - NEAR, 0), np.minimum(cut + NEAR - 1, size - 1)
    ordered = np.sort(keys, axis=-1)
    density = (high - low) / (ordered[..., high] - ordered[..., low])
    mean_apart = (summed[..., high] - summed[..., low]) / (high - low)
    return float(np.sum(density * mean_apart * ((starts(keys) + cut) % cluster == 0)))


if __name__ == "__main__":
    main()
