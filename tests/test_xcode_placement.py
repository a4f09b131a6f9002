"""Placement: what runs where, what could, what may not, what cannot; and where the program changes units."""

from __future__ import annotations

from dataclasses import replace

import pytest
from fuseport.validate.xcode.placement import NOT_ALLOWED, NOT_PRESENT, UNKNOWN, UnitPlacement, find_borders, place
from fuseport.validate.xcode.report import Config, Device, Operation, Report
from xcode_samples import MAC, PHONE, read


def op(name: str, unit: str | None, weight: float = 1.0, eligible: tuple[str, ...] = (), **more: object) -> Operation:
    return Operation(name, "add", (name,), unit=unit, weight=weight, eligible=eligible, **more)  # type: ignore[arg-type]


def report(*operations: Operation, allowed: tuple[str, ...] | None = ("cpu", "gpu", "ane")) -> Report:
    """The phone's report with other operations."""
    plain = read(PHONE.read_bytes())
    return replace(plain, operations=operations, listed=len(operations) + 3, config=Config("x", allowed))


def unit(value: Report, name: str) -> UnitPlacement:
    placement = place(value)
    assert placement is not None
    found = placement.unit(name)
    assert found is not None
    return found


def test_the_phone() -> None:
    placement = place(read(PHONE.read_bytes()))
    assert placement is not None
    ane, gpu, cpu = placement.units
    assert (ane.placed, ane.eligible_elsewhere, ane.not_allowed, ane.incompatible) == (13, 2, 0, 0)
    assert (gpu.placed, gpu.eligible_elsewhere, gpu.eligible_elsewhere_share) == (0, 15, pytest.approx(1))
    assert (cpu.placed, cpu.eligible_elsewhere) == (2, 13)
    assert [(b.before.name, b.after.name) for b in placement.borders] == [("probs", "top_values")]
    assert (placement.dispatched, placement.listed, placement.switches) == (15, 68, 1)


def test_cpu_only_is_no_statement_about_the_operations() -> None:
    ane = unit(read(MAC.read_bytes()), "ane")
    assert (ane.status, ane.not_allowed, ane.incompatible) == (NOT_ALLOWED, 16, 0)


def test_allowed_but_refused_is_incompatible() -> None:
    refused = op("a", "cpu", refusals=(("ane", "unsupported"),), eligible=("cpu",))
    silent = op("b", "cpu", eligible=("cpu",))
    ane = unit(report(refused, silent, op("c", "ane")), "ane")
    assert (ane.placed, ane.incompatible, ane.unstated, ane.not_allowed) == (1, 1, 1, 0)


def test_a_unit_that_the_device_lacks() -> None:
    value = replace(report(op("a", "cpu", eligible=("cpu", "ane"))), device=Device(units=("cpu", "gpu")))
    assert unit(value, "ane").status == NOT_PRESENT
    assert unit(value, "ane").not_allowed == 1


def test_an_unknown_setting_forbids_nothing() -> None:
    ane = unit(report(op("a", "cpu", eligible=("ane",)), allowed=None), "ane")
    assert (ane.status, ane.eligible_elsewhere, ane.not_allowed) == (UNKNOWN, 1, 0)


def test_shares_are_of_the_summed_weight() -> None:
    value = report(op("a", "ane", 0.3), op("b", "cpu", 0.1, ("ane",)))
    assert unit(value, "ane").placed_share == pytest.approx(0.75)
    assert unit(value, "ane").eligible_elsewhere_share == pytest.approx(0.25)


def test_no_weight_no_share() -> None:
    assert unit(report(op("a", "ane", 0.0)), "ane").placed_share is None


def test_a_unit_of_another_name_is_shown() -> None:
    assert unit(report(op("a", "npu")), "npu").placed == 1


def test_no_units_no_placement() -> None:
    assert place(report(op("a", None))) is None
    assert place(report()) is None


def test_borders_stay_within_a_block() -> None:
    operations = [
        op("a", "ane"),
        op("then", "cpu", block="cond[0]"),
        op("else", "gpu", block="cond[1]"),
        op("skipped", None),
        op("b", "ane"),
        op("c", "cpu"),
        op("other", "ane", function="prefill"),
    ]
    assert [(b.before.name, b.after.name) for b in find_borders(operations)] == [("b", "c")]


def test_unplaced_operations_are_counted() -> None:
    placement = place(report(op("a", "ane"), op("b", None)))
    assert placement is not None
    assert placement.unplaced == 1
