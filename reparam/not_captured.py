"""Why a model cannot be captured, or not be checked: the line that is why, what that line does, and what to try."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any

import torch
from torch import nn
from torch._ops import OpOverload
from torch.fx import GraphModule, Node
from torch.fx.experimental.symbolic_shapes import free_unbacked_symbols
from torch.utils._pytree import tree_leaves

from .culprit import culprit, traced
from .graph import arguments
from .proof import region


class CaptureError(ValueError):
    """`torch.export` could not turn the module into a graph; the message is one line."""


class UnrepeatableError(CaptureError):
    """No two runs of the model agree, so nothing can be held against it; the message is one line."""


CAUSES = (
    (
        r"could not guard on data-dependent",
        "Python decides by the values of a tensor (if, while, assert, and, max …)",
        "compute both ways and choose with torch.where, or decide before forward",
    ),
    (
        r"could not extract specialized|_local_scalar_dense",
        "a number is taken out of a tensor (int(), .item(), range(), a size)",
        "keep it a tensor, or make it an attribute that is known before forward",
    ),
    (
        r"\.numpy\(\)|numpy\.ndarray|__array__|can't convert .* to numpy",
        "numpy computes with a tensor's values",
        "use torch's own functions, which a file can hold",
    ),
    (
        r"FakeTensor\.__format__|FakeTensor\.__str__",
        "a tensor's values become text",
        "take the print or the f-string out of forward",
    ),
    (
        r"data pointer|data_ptr",
        "code outside torch (C++, ctypes, Triton) reads a tensor's memory",
        "give the module a path of plain torch functions",
    ),
    (
        r"fake impl|UnsupportedOperatorException|fake tensors|register_fake|no abstract impl",
        "an operator says nothing of the shape that it gives",
        "register one with torch.library.register_fake, or use an operator of torch",
    ),
    (
        r"DynamicOutputShapeException",
        "the size of a tensor depends on its values (nonzero, unique, x[mask], nms …)",
        "keep a fixed size: torch.where, topk, a mask",
    ),
    (
        r"constraint.*violated|ConstraintViolation|specialized",
        "the batch is asked to be open, but the code fixes it",
        "leave --dynamic-batch out, or take the batch from x.shape[0]",
    ),
    (
        r"which is not a known type|unsupported (input|output) type|pytree",
        "a value is of a class that torch cannot take apart",
        "give tensors, in tuples, lists, dicts or dataclasses",
    ),
    (r"RecursionError", "forward calls itself without an end", "call it with inputs for which it ends"),
)
"""Pattern in the type and message of torch's error, what the model's line does, and what to try."""

OTHERWISE = "torch.export.export(model, inputs, strict=False) by itself tells more"


def explained(module: nn.Module, error: Exception) -> CaptureError:
    """`error`, which `torch.export` raised for `module`, in one line."""
    scripted = [name for name, part in module.named_modules() if isinstance(part, torch.jit.ScriptModule)]
    if scripted:
        what = f"{scripted[0] or 'it'} is a TorchScript module, of which no code is left to read"
        return _told(module, "", what, "build the Python class, and load its weights with --checkpoint")
    text = f"{type(error).__name__}: {error}"
    for pattern, what, advice in CAUSES:
        if re.search(pattern, text, re.IGNORECASE):
            return _told(module, culprit(error), what, advice)
    first = next((line.strip() for line in str(error).splitlines() if line.strip()), "no reason given")
    return _told(module, culprit(error), f"{type(error).__name__}: {first[:200]}", OTHERWISE)


def require_fixed_sizes(module: nn.Module, captured: GraphModule) -> None:
    """Raise CaptureError for the first node whose value, or its size, no capture can know: only a run tells it."""
    for node in captured.graph.nodes:
        if any(free_unbacked_symbols(value) for value in _values(node)):
            what = f"the size of a tensor depends on its values ({_operator(node)}: nonzero, unique, x[mask], nms …)"
            if not any(isinstance(value, torch.Tensor) for value in _values(node)):
                what = f"a number is taken out of a tensor ({_operator(node)})"
            advice = "keep a fixed size: torch.where, topk, a mask that multiplies"
            raise _told(module, traced(node.meta.get("stack_trace") or ""), what, advice)


def require_repeatable(module: nn.Module, captured: GraphModule) -> None:
    """Raise UnrepeatableError for the first random draw that has a part in an output."""
    for node in region((captured.graph.output_node(),), ()):
        if _draws(node):
            raise unrepeatable(module, traced(node.meta.get("stack_trace") or ""), _operator(node))


def unrepeatable(module: nn.Module, where: str = "", operator: str = "") -> UnrepeatableError:
    """What to say of a model that draws random numbers: at which line, and with which operator, if that is known."""
    named = f" ({operator})" if operator else ""
    advice = "draw them once, as a buffer, or take them as an input"
    if "dropout" in operator or "attention" in operator:
        advice = "switch the dropout off unless self.training"
    return UnrepeatableError(
        f"no file can be held against {type(module).__name__}{_at(where)}: random numbers are drawn in every "
        f"run{named}, so that no two agree; to try: {advice}"
    )


def _draws(node: Node) -> bool:
    if not isinstance(node.target, OpOverload):
        return False
    given = arguments(node)
    if "dropout_p" in given:
        return given["dropout_p"] > 0
    if "dropout" in _operator(node):
        return bool(given["train"]) and given["p"] > 0
    drawn = torch.Tag.nondeterministic_seeded in node.target.tags
    return drawn and bool(given.get("train", given.get("training", True)))


def _values(node: Node) -> Iterable[Any]:
    return tree_leaves(node.meta.get("val"))


def _operator(node: Node) -> str:
    return str(node.target).removeprefix("aten.").partition(".")[0]


def _told(module: nn.Module, where: str, what: str, advice: str) -> CaptureError:
    return CaptureError(f"torch.export cannot capture {type(module).__name__}{_at(where)}: {what}; to try: {advice}")


def _at(where: str) -> str:
    return f" at {where}" if where else ""
