"""A good package agrees with PyTorch to the last digits; 200 packages with one fault each do not."""

from __future__ import annotations

import random
import shutil
from dataclasses import dataclass
from pathlib import Path

import mil_mutations
import mil_networks
import numpy as np
import pytest
import torch
from fuseport import mil
from fuseport.validate.parity import compare

GRAPH = 1e-9
"""Largest relative error in exact mode of a package that holds the model: seven digits above what float64 leaves."""
OVER_FLOOR = 20.0
"""How far the float32 floor may be exceeded in declared mode."""


@dataclass(frozen=True)
class Subject:
    """A good package and PyTorch's answers in float64 and float32."""

    package: Path
    inputs: torch.Tensor
    truth: np.ndarray
    reference: np.ndarray


def subject(folder: Path, precision: str, target: str) -> Subject:
    net = mil_networks.Mixed()
    if precision == "float16":
        mil_networks.rounded_weights(net)
    x = mil_networks.inputs(4)
    package = mil_networks.convert(net, (x,), folder / "good.mlpackage", precision=precision, target=target)
    with torch.no_grad():
        reference = net(x).numpy()
        truth = net.double()(x.double()).numpy()
    return Subject(package, x, truth, reference)


@pytest.fixture(scope="module")
def wide(tmp_path_factory: pytest.TempPathFactory) -> Subject:
    return subject(tmp_path_factory.mktemp("wide"), "float32", "iOS16")


@pytest.fixture(scope="module")
def narrow(tmp_path_factory: pytest.TempPathFactory) -> Subject:
    return subject(tmp_path_factory.mktemp("narrow"), "float16", "iOS18")


def answers(package: Path, inputs: torch.Tensor) -> tuple[np.ndarray, np.ndarray]:
    """The package's output in exact and in declared mode."""
    model = mil.load(package)
    exact, declared = (model.predict({"x0": inputs}, mode=mode) for mode in ("exact", "declared"))
    name = model.outputs[0].name
    return exact[name], declared[name]


def faulty(package: Path, subject: Subject) -> bool:
    """What the check says: the package is refused, or an answer is further off than a good package's can be."""
    try:
        exact, declared = answers(package, subject.inputs)
    except mil.MilError:
        return True
    if exact.shape != subject.truth.shape or mil_networks.relative_error(exact, subject.truth) > GRAPH:
        return True
    floor = mil_networks.relative_error(subject.reference, subject.truth)
    cost = 1e-2 if declared.dtype == np.float16 else OVER_FLOOR * floor
    return mil_networks.relative_error(declared, subject.truth) > cost


def test_good_packages_pass(wide: Subject, narrow: Subject) -> None:
    for good in (wide, narrow):
        assert not faulty(good.package, good)
        exact, _ = answers(good.package, good.inputs)
        assert mil_networks.relative_error(exact, good.truth) < 1e-14


def mutants(good: Subject, folder: Path, seeds: range) -> list[tuple[str, bool, bool]]:
    """(what was done, whether the check says no, whether it is the same by definition) for each seed."""
    outcomes = []
    pristine = mil_mutations.meaning(mil_mutations.read(good.package))
    for seed in seeds:
        mutation = mil_mutations.MUTATIONS[seed % len(mil_mutations.MUTATIONS)]
        path = folder / "mutant.mlpackage"
        shutil.copytree(good.package, path)
        saved = mil_mutations.read(path)
        what = mutation(saved, random.Random(seed))
        if what is not None:
            mil_mutations.write(saved, path)
            equal = mil_mutations.meaning(saved) == pristine
            outcomes.append((f"{mutation.__name__}, seed {seed}: {what}", faulty(path, good), equal))
        shutil.rmtree(path)
    return outcomes


def test_every_fault_in_a_float32_package_is_found(wide: Subject, tmp_path: Path) -> None:
    outcomes = mutants(wide, tmp_path, range(200))
    assert len(outcomes) == 200
    assert [what for what, found, equal in outcomes if not found and not equal] == []
    assert [what for what, found, equal in outcomes if found and equal] == []
    assert sum(equal for _, _, equal in outcomes) <= 10


def test_every_fault_in_a_float16_package_is_found(narrow: Subject, tmp_path: Path) -> None:
    outcomes = mutants(narrow, tmp_path, range(1000, 1060))
    assert len(outcomes) > 50
    assert [what for what, found, equal in outcomes if not found and not equal] == []


def test_the_exporters_verdict_finds_faults_too(wide: Subject, tmp_path: Path) -> None:
    """The bounds of `validate` are made for folded weights and other engines, so they are wider than ours here."""
    good, _ = answers(wide.package, wide.inputs)
    truth, reference = {"y": wide.truth}, {"y": wide.reference}
    assert compare(truth, reference, {"y": good}).verdict == "passed"
    failed = 0
    for seed in range(28):
        path = tmp_path / "mutant.mlpackage"
        shutil.copytree(wide.package, path)
        saved = mil_mutations.read(path)
        mil_mutations.MUTATIONS[seed](saved, random.Random(seed))
        mil_mutations.write(saved, path)
        try:
            exact, _ = answers(path, wide.inputs)
            failed += compare(truth, reference, {"y": exact}).verdict == "failed"
        except mil.MilError:
            failed += 1
        shutil.rmtree(path)
    assert failed >= 24
