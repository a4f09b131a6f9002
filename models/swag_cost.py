"""The seed's GFLOPs: what its counter adds up for a SWAG ViT with a method, as closed forms, exactly, without weights.

The counter walks a traced graph of batch 1. A multiply-accumulate of a matrix product counts 1, a linear layer's bias
as one more input; per element, softmax counts 5, a layer norm 4, and 1 each: additions, products, divisions, GELU, and
dropout although it does nothing. So a "GFLOP" is mostly a thousand million multiply-accumulates, plus these.

The cost of ACT and ATS depends on the picture and the weights: how many groups the queries form, how many tokens are
kept. It is counted for numbers that the caller states, such as those of `choice_counts` on a picture, and
`implied_count` says which number a published figure means. For ATS only the leading terms are known.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from .swag_vit import SwagViT, ViTSize
from .tokens.act import ACT
from .tokens.ats import ATS
from .tokens.evit import EViT
from .tokens.evo import EvoViT
from .tokens.hourglass import Hourglass
from .tokens.layer import run_with_choices
from .tokens.smyrf import SMYRF
from .tokens.tome import ToMe


@dataclass(frozen=True)
class LayerCost:
    """One layer: the tokens that it takes and gives, and its operations in the seed's counting.

    Its attention works on `tokens_through`: fewer than it takes where they are clustered first, or pass by.
    """

    index: int
    tokens_in: int
    tokens_through: int
    tokens_out: int
    flops: int


@dataclass(frozen=True)
class SeedCost:
    """A whole network, batch 1: `frame` is what lies outside the layers (patches, positions, last norm, head).

    `counted` is what an input-dependent method was counted with (groups per layer, tokens kept per sampling layer), and
    `statement` says so in words; both are empty where the configuration alone decides.
    """

    frame: int
    layers: tuple[LayerCost, ...]
    counted: tuple[int, ...] = ()
    statement: str = ""

    @property
    def flops(self) -> int:
        return self.frame + sum(layer.flops for layer in self.layers)

    @property
    def gflops(self) -> float:
        return self.flops / 1e9


def seed_cost(model: SwagViT, counted: Sequence[int] = ()) -> SeedCost:
    """The cost of `model`, which may lie on the meta device.

    `counted` is for ACT the number of groups, and for ATS the number of tokens kept (the class token included), in each
    layer of the method; left out, the most that there can be. Raises ValueError if there are as many as layers, and for
    grouped keys, whose count is not known.
    """
    method = model.reduction
    if isinstance(method, ACT | ATS):
        return _input_dependent(model, tuple(counted))
    if counted:
        raise ValueError("the cost of this method follows from its options; leave the counts out")
    return SeedCost(_frame(model, _last(model)), tuple(_layers(model)))


def choice_counts(model: SwagViT, image: Tensor) -> tuple[int, ...]:
    """What `seed_cost` is to count with on this picture (1, C, R, R), by running the model on it.

    Per layer of the method: for ACT the groups of queries, the most over heads, since the seed pads to it; for ATS the
    tokens kept.
    """
    with torch.no_grad():
        chosen = run_with_choices(model.reduction, model.layers, model.embed(image))[1].values()
    if isinstance(model.reduction, ACT):
        return tuple(max(len(head.unique()) for head in labels.flatten(0, -2)) for labels in chosen)
    return tuple(int(labels.sum()) for labels in chosen)


def implied_count(model: SwagViT, gflops: float) -> int:
    """How many groups (ACT) or kept tokens (ATS), the same in each layer of the method, come closest to `gflops`."""
    layers = len(model.reduction.layers) if isinstance(model.reduction, ACT | ATS) else 0

    def distance(count: int) -> float:
        return abs(seed_cost(model, (count,) * layers).gflops - gflops)

    return min(range(1, _most(model) + 1), key=distance)


# ---- the network ----------------------------------------------------------------------------------------------------


def _frame(model: SwagViT, last: int) -> int:
    """Patch convolution, position addition, dropout, the norm over the last token count, classifier."""
    size, shape = model.size, model.shape
    inputs = model.conv_proj.in_channels * size.patch**2
    head = model.num_classes * (size.width + 1)
    return size.width * (shape.patches * inputs + 2 * shape.tokens + 4 * last) + head


def _last(model: SwagViT) -> int:
    return model.reduction.tokens()[-1]


def _attention_half(size: ViTSize, n: int) -> int:
    """The projections around the attention, its norm, residual and dropout, for n tokens."""
    return n * (4 * size.width * (size.width + 1) + 6 * size.width)


def _attention(size: ViTSize, n: int) -> int:
    """Two products, softmax, and the scaling of the queries."""
    return 2 * n * n * size.width + 5 * size.heads * n * n + n * size.width


def _mlp_half(size: ViTSize, n: int) -> int:
    """The MLP, its norm, GELU, residual and dropouts, for n tokens."""
    width, hidden = size.width, size.mlp_width
    return n * (2 * hidden * width + hidden + width + 6 * width + 2 * hidden)


def _whole(size: ViTSize, n: int) -> int:
    return _attention_half(size, n) + _attention(size, n) + _mlp_half(size, n)


# ---- the methods whose cost follows from their options --------------------------------------------------------------


def _layers(model: SwagViT) -> list[LayerCost]:
    """Every layer with the token counts that the method's static form has."""
    method, given = model.reduction, model.shape.tokens
    costs = []
    for index, left in enumerate(method.tokens()):
        through = left if isinstance(method, Hourglass) else given
        through = method.through(index) if isinstance(method, EvoViT) else through
        costs.append(LayerCost(index, given, through, left, _layer(model, index, given, left)))
        given = left
    return costs


def _layer(model: SwagViT, index: int, given: int, left: int) -> int:
    size, method = model.size, model.reduction
    if isinstance(method, Hourglass):
        moved = _clustering(size, method, model.shape.patches) if index == method.location else 0
        dropout = left * size.width - (model.shape.tokens * size.width if index == 0 else 0)  # one is in the frame
        return _whole(size, left) + dropout + moved
    if isinstance(method, EViT):
        return _attention_half(size, given) + _attention(size, given) + _evit(size, method, given, left)
    if isinstance(method, ToMe):
        return _attention_half(size, given) + _attention(size, given) + _tome(size, index, given, left)
    if isinstance(method, EvoViT):
        return _whole(size, method.through(index)) + _evo(method, index)
    if isinstance(method, SMYRF) and index in method.layers:
        return _whole(size, given) - _attention(size, given) + _smyrf(size, method, given)
    return _whole(size, given)


def _clustering(size: ViTSize, method: Hourglass, patches: int) -> int:
    pairs = method.clusters * patches
    per_round = 2 * pairs * size.width + 10 * pairs + patches * size.width + 2 * method.clusters * size.width
    return method.iterations * per_round + 3 * pairs


def _evit(size: ViTSize, method: EViT, given: int, left: int) -> int:
    """Scores and the fused token of a layer that drops, then the MLP on what is left."""
    if left == given:
        return _mlp_half(size, left)
    dropped = given - left + method.fuse
    return given * given + method.fuse * dropped * size.width + _mlp_half(size, left)


def _tome(size: ViTSize, index: int, given: int, left: int) -> int:
    """Sizes in the attention, the matching, the weighted means, then the MLP on what is left."""
    sizes = size.heads * given * given if index else 0
    if left == given:
        return sizes + _mlp_half(size, left)
    head = size.width // size.heads
    matching = given * head + -(-given // 2) * (given // 2) * head
    return sizes + matching + (given + left) * size.width + _mlp_half(size, left)


def _evo(method: EvoViT, index: int) -> int:
    """The scores and their moving average, which the last layer does not need."""
    n, last = method.through(index), method.shape.depth - 1
    if index == last:
        return 0
    return n * n + (3 * (n - 1) if index else 0)


def _smyrf(size: ViTSize, method: SMYRF, n: int) -> int:
    rounds, chunk, heads, width = method.rounds, method.cluster, size.heads, size.width
    hashing = 2 * heads * n * (width // heads + 2) * rounds
    chunks = 2 * rounds * n * chunk * width + 3 * rounds * heads * n * chunk
    return hashing + chunks + rounds * n * width + 6 * rounds * heads * n + 2 * heads * n


# ---- the two that depend on the picture -----------------------------------------------------------------------------


def _input_dependent(model: SwagViT, counted: tuple[int, ...]) -> SeedCost:
    method = model.reduction
    assert isinstance(method, ACT | ATS)
    if isinstance(method, ACT) and method.group_k is not None:
        raise ValueError("the seed's count is not known for grouped keys; leave group_k out")
    what = "groups of queries" if isinstance(method, ACT) else "tokens kept"
    most = _most(model)
    stated = counted or (most,) * len(method.layers)
    if len(stated) != len(method.layers) or not all(1 <= count <= most for count in stated):
        raise ValueError(
            f"expected {len(method.layers)} counts of {what}, one per layer of the method, each 1 to {most}"
        )
    statement = f"depends on picture and weights; counted with {_range(stated)} {what} per layer of the method"
    if not counted:
        statement += ", the most that there can be"
    counts = dict(zip(method.layers, stated, strict=True))
    layers = _act(model, counts) if isinstance(method, ACT) else _ats(model, counts)
    return SeedCost(_frame(model, layers[-1].tokens_out), layers, stated, statement)


def _most(model: SwagViT) -> int:
    """The most groups, or tokens kept, that there can be."""
    method = model.reduction
    return method.token_bound if isinstance(method, ATS) else model.shape.tokens


def _act(model: SwagViT, groups: dict[int, int]) -> tuple[LayerCost, ...]:
    """Hashing, and one row of attention per group instead of one per query."""
    size, method, n = model.size, model.reduction, model.shape.tokens
    assert isinstance(method, ACT)
    hashing = n * size.width * (1 + method.q_hashes) + 3 * size.heads * method.q_hashes * n
    per_group = n * (2 * size.width + 6 * size.heads)
    halves = _attention_half(size, n) + _mlp_half(size, n)

    def cost(index: int) -> int:
        return halves + (hashing + groups[index] * per_group if index in groups else _attention(size, n))

    return tuple(LayerCost(index, n, n, n, cost(index)) for index in range(model.shape.depth))


def _ats(model: SwagViT, kept: dict[int, int]) -> tuple[LayerCost, ...]:
    """A sampling layer: all queries, keys, values and logits, but projection and MLP on the kept tokens alone."""
    size, costs, given = model.size, [], model.shape.tokens
    for index in range(model.shape.depth):
        left = min(kept.get(index, given), given)
        flops = _whole(size, given)
        if index in kept:
            inputs = 3 * given * size.width * (size.width + 1) + left * size.width * (size.width + 1)
            flops = inputs + 6 * given * size.width + _attention(size, given) + _mlp_half(size, left)
            flops += model.shape.patches**2
        costs.append(LayerCost(index, given, given, left, flops))
        given = left
    return tuple(costs)


def _range(counts: tuple[int, ...]) -> str:
    low, high = min(counts), max(counts)
    return str(low) if low == high else f"{low} to {high}"
