"""Choices among tokens that come out the same in every runtime.

`topk` and `argsort` leave the order of equal scores open, and runtimes differ. Here the indices of a top-k are never
used, only its values, which do not depend on that order. **The rule: of equal scores the earlier token wins, and chosen
tokens stay in their original order.** Everything is static in shape, and made of operators that ONNX and Core ML have
(`logical_and` rather than `&`, for which coremltools 9 has no lowering from torch.export).

A choice is discontinuous, so its scores are computed in float32 even where the rest of the network is in half
precision: a `Decision` marks the modules for which a converter has to hold to that.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn


class Decision(nn.Module):
    """A choice and the arithmetic that leads to it. Stays in float32 in a half-precision artifact."""


def in_decision(node: torch.fx.Node) -> bool:
    """Whether a node of a captured graph belongs to a `Decision`: it is to stay in float32."""
    names = {f"{kind.__module__}.{kind.__qualname__}" for kind in _kinds(Decision)}
    stack = node.meta.get("nn_module_stack") or {}
    return any(str(getattr(kind, "__qualname__", kind)) in names for _, kind in stack.values())


def _kinds(kind: type) -> list[type]:
    return [kind, *(deeper for below in kind.__subclasses__() for deeper in _kinds(below))]


def full(x: Tensor) -> Tensor:
    """x in float32 at least."""
    return x.float() if x.dtype in (torch.float16, torch.bfloat16) else x


def back(x: Tensor, like: Tensor) -> Tensor:
    """x in the type and on the device of `like`; without a trace in the graph where it is there already.

    Constants are made on the CPU even while a model is built on the meta device, where they could not be made again.
    """
    return x if (x.dtype, x.device) == (like.dtype, like.device) else x.to(like)


def top_mask(scores: Tensor, k: int) -> Tensor:
    """Bool (n, N): the k greatest of scores (n, N); of equal ones the earlier."""
    threshold = scores.topk(k, dim=-1).values.amin(-1, keepdim=True)
    above, tied = scores > threshold, scores == threshold
    room = k - above.long().sum(-1, keepdim=True)
    return torch.logical_or(above, torch.logical_and(tied, tied.long().cumsum(-1) <= room))


def places(mask: Tensor, k: int) -> Tensor:
    """int64 (n, k), ascending: where mask (n, N) is true, which has to be so k times per row.

    A row with fewer (scores that were NaN) is filled up with its last token.
    """
    position = torch.arange(mask.shape[-1], device=mask.device)
    last = torch.full_like(position, mask.shape[-1] - 1)
    return torch.where(mask, position, last).topk(k, dim=-1, largest=False).values


def ascending(x: Tensor) -> Tensor:
    """int64: the order that sorts the last axis, equal values in the order in which they stand.

    A sort need not keep that order (torch's on the CPU does not), so the runs of equal values are numbered, and sorted
    again by run and position, which are never equal.
    """
    size = x.shape[-1]
    values, index = x.sort(dim=-1)
    rises = (values[..., 1:] != values[..., :-1]).long()
    run = torch.cat((torch.zeros_like(index[..., :1]), rises), dim=-1).cumsum(-1) * size
    return (run + index).sort(dim=-1).values - run


def first_of_greatest(scores: Tensor) -> tuple[Tensor, Tensor]:
    """The greatest of the last axis, (...), and where it first occurs, int64 (...)."""
    greatest = scores.amax(-1, keepdim=True)
    position = torch.arange(scores.shape[-1], device=scores.device)
    beyond = torch.full_like(position, scores.shape[-1])
    return greatest.squeeze(-1), torch.where(scores == greatest, position, beyond).amin(-1)


def take(x: Tensor, index: Tensor) -> Tensor:
    """The tokens at index (n, k): from (n, N, D) to (n, k, D), or from (n, N) to (n, k)."""
    if x.dim() == 3:
        index = index.unsqueeze(-1).expand(-1, -1, x.shape[-1])
    return x.gather(1, index)


def survivors(ids: Tensor, size: int) -> Tensor:
    """int32 (n, size): 1 for token 0, the class token, and for each number in ids (n, k), 0 for the others."""
    numbers = torch.arange(1, size, dtype=ids.dtype, device=ids.device)
    found = (ids.unsqueeze(-1) == numbers).to(torch.float32).amax(1)
    return torch.cat((torch.ones_like(found[:, :1]), found), dim=1).to(torch.int32)
