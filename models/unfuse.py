"""A state dict whose batch norms were folded before saving, put back into the shape of the unfolded model.

Networks in the manner of LeViT, SHViT among them, have a `fuse()` that is sometimes called before saving. A convolution
and its norm (`P.c`, `P.bn`) become one convolution with a bias (`P`), a norm and its linear layer (`P.bn`, `P.l`) one
linear layer, and a residual depthwise convolution x + W∗x becomes (W + I)∗x under the residual's own name. Here every
folded pair is met by a norm that does nothing, ε being its own:

    norm(y) = (y - 0) / √(v + ε) · 1 + b,    v = 1 - ε

In float32 the divisor is exactly 1, so the network computes what the folded one did; only W + I - I rounds, in the last
place. Folding the model again gives the file back.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn


def unfuse(tensors: Mapping[str, Tensor], module: nn.Module) -> tuple[dict[str, Tensor], int]:
    """The state dict of `module` (which may be on the meta device) from a folded one, and how many pairs were restored.

    Names that belong to no pair of `module` are passed through, so the checkpoint of another model still misfits.
    """
    out = dict(tensors)
    restored = 0
    for name, norm in module.named_modules():
        place = name.removesuffix(".bn")
        if place == name or not isinstance(norm, nn.BatchNorm1d | nn.BatchNorm2d):
            continue
        merged = place.endswith(".m") and f"{place}.weight" not in out
        source = place.removesuffix(".m") if merged else place
        if f"{source}.weight" in out and f"{source}.bias" in out:
            weight, bias = out.pop(f"{source}.weight").float(), out.pop(f"{source}.bias").float()
            weight = weight - _identity(weight) if merged else weight
            behind = "l" if isinstance(getattr(module.get_submodule(place), "l", None), nn.Linear) else "c"
            out |= {f"{place}.{leaf}": value for leaf, value in _pair(norm, behind, weight, bias).items()}
            restored += 1
    return out, restored


def _pair(norm: nn.BatchNorm1d | nn.BatchNorm2d, other: str, weight: Tensor, bias: Tensor) -> dict[str, Tensor]:
    """A norm that does nothing, and its partner: `c`, whose bias the norm adds, or `l`, which has its own."""
    n = norm.num_features
    entries = {
        f"{other}.weight": weight,
        "bn.weight": torch.ones(n),
        "bn.bias": bias if other == "c" else torch.zeros(n),
        "bn.running_mean": torch.zeros(n),
        "bn.running_var": torch.full((n,), 1 - norm.eps),
    }
    return entries | ({"l.bias": bias} if other == "l" else {})


def _identity(weight: Tensor) -> Tensor:
    """The depthwise kernel (C, 1, kH, kW) that passes its input on: 1 in the middle."""
    identity = torch.zeros_like(weight)
    identity[..., weight.shape[-2] // 2, weight.shape[-1] // 2] = 1
    return identity
