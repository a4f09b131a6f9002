"""How far the outputs move when one tensor of the model is corrupted, for every tensor, without a forward for each.

Corrupt a tensor W by making every value wrong by 100 % with a random sign, W + s |W|. To first order the output y moves
by J (s |W|), and over the random signs s and over random directions u of the output

    E ||J (s |W|)||^2  =  E_u  sum_i (g_i |W_i|)^2,        g = grad_W <u, y>,   u ~ N(0, 1),

so one forward and a few backwards give the figure for all tensors at once (Hutchinson's estimator, 1990, with the signs
integrated out; the sum over a tensor's values averages, so four directions suffice). The statistics of a batch norm
need no gradient of their own: y = w (x - m) / sqrt(v + eps) + b gives those of m and v from those of b and w.

A single direction overstates a figure by MARGIN once in ten thousand times at most, and what it understates is tried.
So a big model, whose backwards take minutes, follows one.

A corruption of 100 % is no small step, and a gradient can vanish where the function does not. So tensors whose estimate
is not clearly above the bound are tried, corrupted in a copy: those that should show one by one, those that should not
all in one forward, and if that moves an output after all, in halves. However many tensors are blind, together they cost
one forward. On SHViT, SwiftFormer, ResNet, MobileNetV4, ConvNeXt V2 and DeiT the estimate of a weight that moves the
output by less than a tenth was 0.4 to 3.6 times the measured figure, its median 1.0.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor, nn
from torch.autograd.graph import saved_tensors_hooks
from torch.func import functional_call
from torch.nn.modules.batchnorm import _BatchNorm
from torch.utils._pytree import tree_leaves

from ...models.outputs import tensors
from ..mapped import HEAVY_BYTES, IN_MEMORY, Mapped

MARGIN = 4.0
"""Estimates up to this factor above the bound are tried: what first order may promise too much."""

DIRECTIONS = 4
"""Random directions of the output, one backward each; for a model from HEAVY_BYTES on it is one."""

COARSE_BYTES = 2**20
"""From this size on a value that waits for its gradients is kept in bfloat16."""

Tensors = dict[str, Tensor]
Figures = dict[str, float]
Run = Callable[[Mapping[str, Tensor]], list[Tensor]]
"""The float outputs of the model with some of its tensors replaced."""


@dataclass(frozen=True)
class Sensitivity:
    """Tensor name → relative L2 change of the output that it moves most, when it is corrupted."""

    trainable: Figures
    statistics: Figures
    """Running means and variances of batch norms."""
    confirmed: int
    """Tensors whose figure was measured on a corrupted copy; of a group that moved nothing, it is the group's."""
    forwards: int
    """Forwards of corrupted copies that this took."""


@dataclass(frozen=True)
class Estimates:
    """The first-order figures of every tensor, and what it takes to confirm them for one bound or another."""

    figures: Figures
    trial: _Trial
    finite: bool
    """Whether the outputs are; all figures are NaN where they are not."""


def sensitivity(
    module: nn.Module,
    inputs: Tensor | Sequence[Tensor],
    named: Mapping[str, Tensor] | None = None,
    *,
    bound: float,
    max_forwards: int = 20,
    seed: int = 0,
    memory: Mapped = IN_MEMORY,
) -> Sensitivity:
    """The sensitivity of the float outputs of `module(*inputs, **named)` to every parameter and every norm statistic.

    `bound` is that of the check in question. See `estimate` and `confirm`, which share the work among several bounds.
    """
    return confirm(estimate(module, inputs, named, seed=seed, memory=memory), bound, max_forwards=max_forwards)


def estimate(
    module: nn.Module,
    inputs: Tensor | Sequence[Tensor],
    named: Mapping[str, Tensor] | None = None,
    *,
    seed: int = 0,
    memory: Mapped = IN_MEMORY,
) -> Estimates:
    """Estimates for the outputs of `module(*inputs, **named)`, of which one sample is enough: what costs backwards.

    `memory` is where the weights are. Where the outputs are not finite every figure is NaN.
    The module is left as it is. Raises a ValueError for a module in training mode or without a float output.
    """
    if module.training:
        raise ValueError("expected a module in eval mode: in training mode its outputs are random; call .eval() first")
    run = partial(_run, module, (inputs,) if isinstance(inputs, Tensor) else tuple(inputs), dict(named or {}))
    norms = _norms(module)
    trainable = {name: value.detach() for name, value in module.named_parameters() if value.is_floating_point()}
    affine = {f"{prefix}{leaf}" for prefix, norm in norms.items() if norm.affine for leaf in ("weight", "bias")}
    heavy = sum(value.nbytes for value in trainable.values()) >= HEAVY_BYTES
    found = _Gradients(trainable, affine, 1 if heavy else DIRECTIONS, memory)
    clean = found.along_random_directions(run, torch.Generator().manual_seed(seed))
    statistics = _statistics_steps(norms)
    trial = _Trial(run, module, statistics, clean, seed)
    if not all(bool(torch.isfinite(output).all()) for output in clean):
        return Estimates(dict.fromkeys([*trainable, *statistics], math.nan), trial, finite=False)
    changes = found.changes | _statistics_changes(norms, found.squares, statistics)
    return Estimates({name: math.sqrt(change) for name, change in changes.items()}, trial, finite=True)


def confirm(estimates: Estimates, bound: float, *, max_forwards: int = 20) -> Sensitivity:
    """The figures with those that are doubtful for this bound tried, in at most `max_forwards` forwards.

    The module must have the weights for which it was estimated.
    """
    found, trial = estimates.figures, estimates.trial
    measured, forwards = _confirm(trial, found, bound, max_forwards) if estimates.finite else ({}, 0)
    figures = found | measured
    trainable, unlearned = (
        {name: figure for name, figure in figures.items() if (name in trial.statistics) is wanted}
        for wanted in (False, True)
    )
    return Sensitivity(trainable, unlearned, len(measured), forwards)


def _run(
    module: nn.Module, inputs: tuple[Tensor, ...], named: dict[str, Tensor], changed: Mapping[str, Tensor]
) -> list[Tensor]:
    """Buffers are handed over as copies, so that nothing a forward writes to them stays."""
    copies = {name: value.detach().clone() for name, value in module.named_buffers()}
    leaves = tree_leaves(tensors(functional_call(module, {**copies, **changed}, inputs, named)))
    outputs = [leaf for leaf in leaves if isinstance(leaf, Tensor) and leaf.is_floating_point()]
    if not outputs:
        raise ValueError("the model has no float output, so no change of it can be measured")
    return outputs


def _step(value: Tensor) -> Tensor:
    """How far each value is moved: by its own size, or by 1 in a tensor of zeros."""
    return value.abs() if value.any() else torch.ones_like(value)


class _Gradients:
    """What is kept of the gradients of `tensors`, which are as large as the model: each is looked at and let go of.

    `changes` is the mean square change of the outputs when a tensor is corrupted; `squares`, of the tensors in `whole`
    alone, the mean square of each gradient. A tensor that no output depends on has zeros.
    """

    def __init__(self, tensors: Tensors, whole: Collection[str], directions: int, memory: Mapped) -> None:
        self.tensors = tensors
        self.directions = directions
        self.memory = memory
        self.changes = dict.fromkeys(tensors, 0.0)
        self.squares = {name: torch.zeros_like(tensors[name]) for name in whole}

    def along_random_directions(self, run: Run, draw: torch.Generator) -> list[Tensor]:
        """Follow so many random directions of the outputs, each output in units of its length; give the outputs."""
        leaves = {name: value.detach().requires_grad_() for name, value in self.tensors.items()}
        for name, leaf in leaves.items():
            leaf.register_post_accumulate_grad_hook(partial(self._see, name))
        with torch.enable_grad(), _coarsely_remembered(leaves.values(), self.memory):
            outputs = run(leaves)
        reached = [output for output in outputs if output.requires_grad]
        for left in reversed(range(self.directions if reached else 0)):
            ways = [torch.randn(y.shape, generator=draw, dtype=y.dtype) / _length(y) for y in reached]
            torch.autograd.backward(reached, ways, retain_graph=left > 0)
        return [output.detach() for output in outputs]

    def _see(self, name: str, leaf: Tensor) -> None:
        gradient, leaf.grad = leaf.grad, None
        assert gradient is not None
        if name in self.squares:
            self.squares[name].addcmul_(gradient, gradient, value=1 / self.directions)
        change = torch.linalg.vector_norm(gradient.mul_(_step(leaf.detach())), dtype=torch.float64)
        self.changes[name] += float(change) ** 2 / self.directions


def _coarsely_remembered(leaves: Iterable[Tensor], memory: Mapped) -> saved_tensors_hooks:
    """Large values that a forward keeps for its gradients are kept to three digits, in half their memory.

    That is plenty for an estimate whose margin is a factor of four. The weights themselves are not copied at all. In a
    big model neither stays in memory for longer than it takes to compute with it.
    """
    weights = {leaf.untyped_storage().data_ptr() for leaf in leaves}

    def keep(value: Tensor) -> Tensor:
        large = value.dtype == torch.float32 and value.nbytes >= COARSE_BYTES
        return memory.moved(value.bfloat16()) if large and value.untyped_storage().data_ptr() not in weights else value

    def give(kept: Tensor) -> Tensor:
        if kept.dtype != torch.bfloat16:
            return kept
        memory.forget()
        return kept.float()

    return saved_tensors_hooks(keep, give)


def _length(output: Tensor) -> float:
    return float(torch.linalg.vector_norm(output.detach().double())) or 1.0


def _norms(module: nn.Module) -> dict[str, _BatchNorm]:
    """Prefix of the tensors' names → each batch norm that uses stored statistics."""
    return {
        f"{name}." if name else "": norm
        for name, norm in module.named_modules()
        if isinstance(norm, _BatchNorm) and norm.running_mean is not None
    }


def _statistics_steps(norms: dict[str, _BatchNorm]) -> Tensors:
    """Means are moved like weights, variances by half of themselves, which keeps them above zero."""
    means = {f"{prefix}running_mean": _step(norm.get_buffer("running_mean")) for prefix, norm in norms.items()}
    return means | {f"{prefix}running_var": _step(norm.get_buffer("running_var")) / 2 for prefix, norm in norms.items()}


def _statistics_changes(norms: dict[str, _BatchNorm], squares: Tensors, steps: Tensors) -> Figures:
    """As `_Gradients.changes`, from the squares of dy/dm = -dy/db w / sqrt(v + eps), dy/dv = -dy/dw w / (2 (v + eps)).

    A norm without w and b gets zeros, so that its statistics are tried.
    """
    found = dict.fromkeys(steps, 0.0)
    for prefix, norm in norms.items():
        if norm.affine:
            spread, scale = norm.get_buffer("running_var") + norm.eps, norm.weight.detach()
            mean, variance = f"{prefix}running_mean", f"{prefix}running_var"
            of_mean = squares[f"{prefix}bias"] * scale**2 / spread
            of_variance = squares[f"{prefix}weight"] * (scale / (2 * spread)) ** 2
            found[mean] = float((of_mean.double() * steps[mean] ** 2).sum())
            found[variance] = float((of_variance.double() * steps[variance] ** 2).sum())
    return found


@dataclass(frozen=True)
class _Trial:
    """What it takes to corrupt some tensors and look at the outputs."""

    run: Run
    module: nn.Module
    statistics: Tensors
    """How far the statistics of batch norms are moved; all others by `_step`."""
    clean: list[Tensor]
    seed: int

    def change(self, names: list[str]) -> float:
        """The relative L2 change of the output that moves most when all of `names` are corrupted."""
        draw = torch.Generator().manual_seed(self.seed)
        with torch.no_grad():
            moved = self.run({name: self._corrupted(name, draw) for name in names})
        changes = [
            0.0 if torch.equal(a, b) else _length(a - b) / _length(b) for a, b in zip(moved, self.clean, strict=True)
        ]
        return max(change if math.isfinite(change) else math.inf for change in changes)

    def _corrupted(self, name: str, draw: torch.Generator) -> Tensor:
        owner, _, leaf = name.rpartition(".")
        value = getattr(self.module.get_submodule(owner), leaf).detach()
        step = self.statistics[name] if name in self.statistics else _step(value)
        signs = torch.randint(0, 2, step.shape, generator=draw, dtype=step.dtype) * 2 - 1
        return value + signs * step


def _confirm(trial: _Trial, estimates: Figures, bound: float, max_forwards: int) -> tuple[Figures, int]:
    """Measured figures of the doubtful tensors, as far as `max_forwards` forwards go, and the forwards taken."""
    silent = [name for name, estimate in estimates.items() if not estimate > bound]
    faint = [name for name, estimate in estimates.items() if bound < estimate <= MARGIN * bound]
    groups = ([silent] if silent else []) + [[name] for name in sorted(faint, key=lambda name: estimates[name])]
    measured: Figures = {}
    forwards = 0
    while groups and forwards < max_forwards:
        group = groups.pop(0)
        change, forwards = trial.change(group), forwards + 1
        if change <= bound or len(group) == 1:
            measured |= dict.fromkeys(group, change)
        else:
            half = len(group) // 2
            groups = [group[:half], group[half:], *groups]
    return measured, forwards
