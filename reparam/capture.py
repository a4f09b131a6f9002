"""Capture a module as an ATen graph with `torch.export`, free of in-place operators and of run-time guards."""

from __future__ import annotations

import contextlib
import io
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import nn
from torch.fx import GraphModule, Node

from .graph import is_op, mutates
from .not_captured import CaptureError, explained


def capture(
    module: nn.Module, inputs: Sequence[Any], named: Mapping[str, Any] | None = None, *, dynamic_shapes: Any = None
) -> GraphModule:
    """The graph of `module` in eval mode on `inputs`, and `named` ones that its forward takes by name.

    Weights are shared with the module, not copied. `dynamic_shapes` is torch.export's: one entry per input. Raises
    CaptureError with the line of the model that stopped the capture.
    """
    training = [name or "the model itself" for name, child in module.named_modules() if child.training]
    if training:
        raise CaptureError(f"{training[0]} is in training mode; expected a model in eval mode: call .eval() first")
    try:
        with contextlib.redirect_stderr(io.StringIO()):  # where torch prints its half of a graph
            program = torch.export.export(
                module, tuple(inputs), dict(named or {}), dynamic_shapes=dynamic_shapes, strict=False
            )
    except (KeyboardInterrupt, MemoryError):
        raise
    except Exception as error:
        raise explained(module, error) from error
    captured = _unguarded(program)
    if not all(_safely_functional(node) for node in captured.graph.nodes if mutates(node)):
        captured = _unguarded(program.run_decompositions({}))
        _whole_norms(captured)
    return _functional(captured)


def _whole_norms(module: GraphModule) -> None:
    """Batch norms, of which making a program functional leaves one of three outputs, are batch norms again."""
    target = torch.ops.aten._native_batch_norm_legit_no_training.default
    for node in module.graph.find_nodes(op="call_function", target=target):
        *read, momentum, eps = node.args
        with module.graph.inserting_before(node):
            norm = module.graph.call_function(torch.ops.aten.batch_norm.default, (*read, False, momentum, eps, False))
        norm.meta = {**node.meta, "val": node.meta["val"][0]}
        for output in list(node.users):
            output.replace_all_uses_with(norm)
            module.graph.erase_node(output)
        module.graph.erase_node(node)


def _unguarded(program: torch.export.ExportedProgram) -> GraphModule:
    """The program's graph, flat, and without checks of the example's shapes and types at run time."""
    captured = program.module()
    assert isinstance(captured, GraphModule)
    while regions := [node for node in captured.graph.nodes if _region_of(captured, node) is not None]:
        for node in regions:
            _inline(captured, node)
    for node in list(captured.graph.nodes):
        if (node.op == "call_module" and node.target == "_guards_fn") or is_op(node, "_assert_tensor_metadata"):
            captured.graph.erase_node(node)
    return captured


def _region_of(captured: GraphModule, node: Node) -> Node | None:
    """The sub-graph of a block under `torch.no_grad()` or a switched-off autocast, which changes nothing here."""
    if node.target is torch.ops.higher_order.wrap_with_set_grad_enabled:
        region = node.args[1]
    elif node.target is torch.ops.higher_order.wrap_with_autocast and not node.args[2]:
        region = node.args[4]
    else:
        return None
    assert isinstance(region, Node)
    return region


def _inline(captured: GraphModule, node: Node) -> None:
    region = _region_of(captured, node)
    assert region is not None
    inner = captured.get_submodule(str(region.target))
    assert isinstance(inner, GraphModule)
    operands = iter(node.args[node.args.index(region) + 1 :])
    copies: dict[Node, Any] = {}
    with captured.graph.inserting_before(node):
        for part in inner.graph.nodes:
            if part.op == "placeholder":
                copies[part] = next(operands)
            elif part.op != "output":
                copies[part] = captured.graph.node_copy(part, copies.__getitem__)
                if part.op == "get_attr":
                    copies[part].target = f"{region.target}.{part.target}"
    (results,) = inner.graph.output_node().args
    assert isinstance(results, (list, tuple))
    for getitem in list(node.users):
        result = results[getitem.args[1]]  # pyright: ignore
        getitem.replace_all_uses_with(copies[result], propagate_meta=False)  # pyright: ignore
        captured.graph.erase_node(getitem)
    captured.graph.erase_node(node)
    if not region.users:
        captured.graph.erase_node(region)


def _functional(module: GraphModule) -> GraphModule:
    """The graph without in-place operators: a rule may then read a value without asking what was done to it later."""
    for node in module.graph.nodes:
        if not (mutates(node) and _safely_functional(node)):
            continue
        node.target = _functional_twin(node)
        mutated = node.args[0]
        for user in [user for user in mutated.users if user > node]:
            user.replace_input_with(mutated, node)
    _reshape_for_view(module)
    module.recompile()
    return module


def _reshape_for_view(module: GraphModule) -> None:
    """`view` becomes `reshape`, which asks nothing of strides: a rule may take away the copy that made them fit."""
    if not any(mutates(node) for node in module.graph.nodes):
        for node in module.graph.nodes:
            if node.target in (torch.ops.aten.view.default, torch.ops.aten._unsafe_view.default):
                node.target = torch.ops.aten.reshape.default


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
        and _is_fresh(mutated)
        and not any(_aliases(user) for user in mutated.users)
    )


def _is_fresh(node: Node) -> bool:
    """A computed value whose memory nobody else reads; an alias of such a value is one, if it is its only reader."""
    if is_op(node, "alias"):
        base = node.args[0]
        return isinstance(base, Node) and len(base.users) == 1 and _is_fresh(base)
    return node.op == "call_function" and not _aliases(node)


def _aliases(node: Node) -> bool:
    """Whether the node's value may share memory with one of its inputs."""
    if not isinstance(node.target, torch._ops.OpOverload):
        return node.op == "call_function"  # getitem of a split, say
    returned = any(value.alias_info is not None for value in node.target._schema.returns)
    return (returned and not mutates(node)) or is_op(node, "reshape", "contiguous", "flatten", "dropout", "to")
