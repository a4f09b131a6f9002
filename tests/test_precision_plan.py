"""A precision file that cannot be used is refused in one line that says what to do."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from fuseport.export.precision.plan import PlanError, graph_id, names_for, read_plan
from torch import nn

PLAN = {"schema": "fuseport.precision/1", "variant": "net", "graph": "", "float32": [{"name": "relu"}]}


def program(*layers: nn.Module) -> torch.export.ExportedProgram:
    return torch.export.export(nn.Sequential(*layers), (torch.zeros(2, 4),))


LEGAL = program(nn.Linear(4, 4), nn.ReLU())


def written(folder: Path, data: object) -> Path:
    path = folder / "net.precision.json"
    path.write_text(data if isinstance(data, str) else json.dumps(data))
    return path


@pytest.mark.parametrize(
    ("data", "told"),
    [
        ("{", "expected the JSON of a precision file or a report; it is neither"),
        ("[" * 100_000, "it is neither"),
        ([], "expected the schema fuseport.precision/1, or a report that holds one; got 'list'"),
        ({"schema": "fuseport.report/1"}, "got 'fuseport.report/1'"),
        ({**PLAN, "schema": "fuseport.precision/2"}, "got 'fuseport.precision/2'"),
        ({"schema": "fuseport.report/1", "mixed_precision": None}, "a run without a search; give one of a run with"),
        ({**PLAN, "float32": {}}, "expected the texts variant and graph"),
        ({**PLAN, "float32": [{"operator": "relu"}]}, "expected the texts variant and graph"),
        ({**PLAN, "variant": 3}, "make it again with --precision auto"),
    ],
)
def test_what_is_no_plan(data: object, told: str, tmp_path: Path) -> None:
    with pytest.raises(PlanError) as refused:
        read_plan(written(tmp_path, data))
    assert told in str(refused.value)
    assert "\n" not in str(refused.value)


def test_a_missing_file(tmp_path: Path) -> None:
    with pytest.raises(PlanError, match=r"cannot read the precision file .*: No such file"):
        read_plan(tmp_path / "none.json")


def test_a_plan_of_this_graph_is_taken_alone_or_in_a_report(tmp_path: Path) -> None:
    plan = {**PLAN, "graph": graph_id(LEGAL)}
    assert names_for(written(tmp_path, plan), LEGAL) == ("relu",)
    assert names_for(written(tmp_path, {"schema": "fuseport.report/1", "mixed_precision": plan}), LEGAL) == ("relu",)


def test_the_graph_is_known_by_its_operators_not_its_weights() -> None:
    assert graph_id(program(nn.Linear(4, 4), nn.ReLU())) == graph_id(LEGAL)
    assert graph_id(program(nn.Linear(4, 4), nn.Sigmoid())) != graph_id(LEGAL)


def test_a_plan_of_another_graph(tmp_path: Path) -> None:
    unknown = [{"name": f"mul_{number}"} for number in range(6)]
    with pytest.raises(PlanError, match=r"has not: mul_0, mul_1, mul_2, mul_3 and 2 more .it was made for net"):
        names_for(written(tmp_path, {**PLAN, "float32": unknown}), LEGAL)
    with pytest.raises(PlanError, match=r"was made for another graph .net, 1234; this one is [0-9a-f]{16}."):
        names_for(written(tmp_path, {**PLAN, "graph": "1234"}), LEGAL)
