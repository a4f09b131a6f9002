"""The table of operators against coremltools' own definitions: names, inputs, and what must be given."""

from __future__ import annotations

import inspect
import logging
from typing import Any

import pytest
from fuseport.mil.ops import FUNCTIONS, GROUPS, operator

logging.getLogger("coremltools").setLevel(logging.ERROR)

OPSETS = (5, 6, 7, 8, 9)
NOT_IN_FILES = {"const", "_const_symbolic", "conv_quantized"}
"""`const` is data, `_const_symbolic` an intermediate of the converter, `conv_quantized` of neural networks only."""
BLOCKS = {"_true_fn", "_false_fn", "_cond", "_body", "_existing_blocks"}


def definitions() -> dict[tuple[str, int], Any]:
    """(operator, opset) → coremltools' class, for all that a file can hold."""
    from coremltools.converters.mil.mil.ops.registry import SSAOpRegistry

    found = {}
    for name, versions in SSAOpRegistry.core_ops.items():
        for opset in OPSETS:
            known = [target for target in versions if target.value <= opset + 1]
            if known and name not in NOT_IN_FILES:
                found[name, opset] = versions[max(known, key=lambda target: target.value)]
    return found


def test_every_operator_of_coremltools_is_there_with_the_same_inputs() -> None:
    for (name, opset), cls in definitions().items():
        mine = operator(name, opset)
        assert mine is not None, f"{name} of opset {opset}"
        inputs = {k: v for k, v in cls.input_spec.input_types.items() if k not in BLOCKS}
        parameters = {k: v for k, v in mine.parameters.items() if k != "blocks"}
        assert set(inputs) <= set(parameters), f"{name} of opset {opset} lacks {set(inputs) - set(parameters)}"
        for key, spec in inputs.items():
            assert not (parameters[key].required and spec.optional), f"{name}: {key} may be left out"


def test_no_operator_is_missing_or_invented() -> None:
    """`write_state` is how a file spells the converter's `coreml_update_state`."""
    assert set(FUNCTIONS) == {name for name, _ in definitions()} | {"write_state"}
    assert len(FUNCTIONS) >= 165


def test_names_are_unique_and_functions_documented() -> None:
    names = [name for group in GROUPS for table in (group.COMPUTED, group.MOVED) for name in table]
    assert len(names) == len(set(names))
    for entry, _ in FUNCTIONS.values():
        for function in [entry] if callable(entry) else entry.values():
            assert inspect.getdoc(function), function.__name__


@pytest.mark.parametrize(("name", "first"), [("constexpr_cast", 5), ("constexpr_lut_to_dense", 6)])
def test_versions_begin_where_the_operator_does(name: str, first: int) -> None:
    assert operator(name, first) is not None
    assert operator("no_such_operator", 8) is None
    assert operator("constexpr_lut_to_dense", 5) is None
