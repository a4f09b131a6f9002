"""Capture a module as an ATen graph with `torch.export`, free of in-place operators and of run-time guards."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import nn
from torch.fx import GraphModule, Node

from .graph import is_op, mutates


class CaptureError(ValueError):
    """`torch.export` could not turn the module into a graph."""


def capture(module: nn.Module, inputs: Sequence[Any], *, dynamic_shapes: Any = None) -> GraphModule:
    """The graph of `module` in eval mode on `inputs`; weights are shared with the module, not copied.

    `dynamic_shapes` is torch.export's: one entry per input. Raises CaptureError with the line of the model that stopped
    the capture.
    """
    training = [name or "the model itself" for name, child in module.named_modules() if child.training]
    if training:
        raise CaptureError(f"{training[0]} is in training mode; expected a model in eval mode: call .eval() first")
    try:
        program = torch.export.export(module, tuple(inputs), dynamic_shapes=dynamic_shapes, strict=False)
    except (KeyboardInterrupt, MemoryError):
        raise
    except Exception as error:
        raise CaptureError(_why(module, error)) from error
    captured = _unguarded(program)
    if not all(_safely_functional(node) for node in captured.graph.nodes if mutates(node)):
        captured = _unguarded(program.run_decompositions({}))
    return _functional(captured)


def _unguarded(program: torch.export.ExportedProgram) -> GraphModule:
    captured = program.module()
    assert isinstance(captured, GraphModule)
    for node in list(captured.graph.nodes):
        if node.op == "call_module" and node.target == "_guards_fn":  # checks the example's shapes at run time
            captured.graph.erase_node(node)
    return captured


def _why(module: nn.Module, error: Exception) -> str:
    first = next((line.strip() for line in str(error).splitlines() if line.strip()), type(error).__name__)
    where = [line.strip() for line in str(error).splitlines() if line.strip().startswith('File "')]
    trace = error.__traceback__
    frames = []
    while trace is not None:
        frames.append((trace.tb_frame.f_code.co_filename, trace.tb_lineno))
        trace = trace.tb_next
    own = [f"{file}, line {line}" for file, line in frames if "/torch/" not in file and file != __file__]
    at = own[-1] if own else (where[-1] if where else "an unknown line")
    return (
        f"torch.export cannot capture {type(module).__name__} (at {at}): {first}; "
        "expected a forward without data-dependent Python control flow"
    )


def _functional(module: GraphModule) -> GraphModule:
    """The graph without in-place operators: a rule may then read a value without asking what was done to it later."""
    for node in module.graph.nodes:
        if not (mutates(node) and _safely_functional(node)):
            continue
        node.target = _functional_twin(node)
        mutated = node.args[0]
        for user in [user for user in mutated.users if user > node]:
            user.replace_input_with(mutated, node)
    module.recompile()
    return module


def _functional_twin(node: Node) -> Any:
    """The operator that returns what this in-place one writes, or None."""
    assert isinstance(node.target, torch._ops.OpOverload)
    packet = getattr(torch.ops.aten, node.target._schema.name.split("::")[1].removesuffix("_"), None)
    return getattr(packet, node.target._overloadname, None)


def _safely_functional(node: Node) -> bool:
    """An in-place operator on a fresh value of which no view exists, with a functional twin of the same overload."""
    assert isinstance(node.target, torch._ops.OpOverload)
    mutated = node.args[0] if node.args else None
    return (
        node.target._schema.name.startswith("aten::")
        and node.target._schema.name.endswith("_")
        and _functional_twin(node) is not None
        and isinstance(mutated, Node)
        and mutated.op == "call_function"
        and not _aliases(mutated)
        and not any(_aliases(user) for user in mutated.users)
    )


def _aliases(node: Node) -> bool:
    """Whether the node's value may share memory with one of its inputs."""
    if not isinstance(node.target, torch._ops.OpOverload):
        return node.op == "call_function"  # getitem of a split, say
    returned = any(value.alias_info is not None for value in node.target._schema.returns)
    return (returned and not mutates(node)) or is_op(node, "reshape", "contiguous", "flatten", "dropout", "to")
