"""A fault that float16's own bound hides is seen once the graph is judged apart from what float16 costs."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import mil_mutations
import numpy as np
import pytest
from fuseport.export.formats import to_coreml
from fuseport.export.job import Checks, Job, Source
from fuseport.export.program import prepare
from fuseport.export.proof.check import Check, check, explained, yardstick
from fuseport.export.proof.graph_check import graph_error
from fuseport.export.request import Request
from fuseport.export.stages import Stages
from fuseport.export.subject import subject
from fuseport.validate.parity import Parity


@pytest.mark.usefixtures("tiny")
def test_a_fault_below_the_bound_of_float16_is_seen(tmp_path: Path) -> None:
    job = Job(Source("shvit_tiny"), ("coreml",), Request(), Checks(samples=2))
    model = subject(job)
    prepared = prepare(model, job, Stages(lambda stage: None))
    names = {"input_names": model.input_names, "output_names": model.output_names, "export_id": ""}
    good = to_coreml.convert(prepared.program, tmp_path / "good.mlpackage", Request(), {}, **names)
    ours = yardstick(model, prepared.folded, prepared.captured, {"float16"}, (prepared.program, ()))
    exact = check(good, model, ours, job.checks)[0]
    assert isinstance(exact.parity, Parity)
    assert exact.parity.verdict == "passed"
    assert "beside the model with the same constants rounded" in exact.parity.reason
    assert ", within " in exact.parity.reason.split("constants rounded")[1]
    where = mil_mutations.one_channel_wrong(good.path, 3)
    blunt = check(good, model, replace(ours, graph=False), job.checks)
    assert [verdict(one) for one in blunt] == ["passed", "passed"]
    sharp = explained(check(good, model, ours, job.checks), good, model, prepared.program)[0]
    assert verdict(sharp) == "failed"
    assert sharp.layer is not None
    assert sharp.layer.tensor == where


def verdict(one: Check) -> str:
    assert isinstance(one.parity, Parity)
    return one.parity.verdict


def test_the_worst_output_is_told() -> None:
    truth = {"a": np.ones((2, 50)), "b": np.ones((2, 50)), "label": np.arange(2)}
    given = {**truth, "b": truth["b"] * (1 + 1e-4), "label": np.arange(2) + 1}
    found = graph_error(truth, truth, truth, given)
    assert found is not None
    assert not found.passes
    assert found.told() == "beside the model with the same constants rounded 1.0e-04, beyond 1.0e-05"
    assert graph_error(truth, truth, given, given).passes  # pyright: ignore
    assert graph_error({"label": np.arange(2)}, truth, truth, given) is None
