"""Statistics for batch norms whose other weights are drawn, under which activations stay of ordinary size.

A pass over a few drawn inputs sets them: per channel the mean and deviation of what reaches the norm, moved by a draw.
It runs in float64 and its results are rounded coarsely (deviations to powers of two), so that they are the same on
every machine.

A few inputs are a small sample, and behind tens of norms what they did not show can grow from layer to layer. A fixed
norm does not hold it back: a convex nonlinearity answers a stronger signal with a stronger one still, a softmax of
large scores tears apart what was near, and subtracting means takes away what neighbours have in common (a mean field
theory of batch normalization, Yang et al. 2019, finds gradients that explode with depth). So deep models are tried on
other inputs, and where those leave the statistics, or part from their neighbours, all deviations are taken wider:
signals are then small beside the offsets, nonlinearities nearly straight, scores small.
"""

from __future__ import annotations

import contextlib
import copy
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial

import torch
from torch import Tensor, nn

from ..reparam.culprit import culprit, reason_of
from ..reparam.float64 import Wide
from .inputs import Input, handed

FEW = 32
"""Fewer positions than this (pictures × height × width) say too little about a channel: the layer's scale is used."""

DEEP = 32
"""From this many batch norms on a model is tried on other inputs."""

OUTGROWN = 5.0
"""So many times their deviation from the means other inputs may have in front of any norm; ordinary are 1 to 3."""

NEAR, APART = 1e-6, 1000.0
"""Inputs that differ by the first, relative to them, may differ by this many times as much in front of any norm."""

WIDER = (1, 2, 3, 4)
"""What deviations are multiplied by in turn, until other inputs fit."""

Values = Mapping[str, Tensor]
"""Samples by the name of the input."""


def calibrate_(
    module: nn.Module,
    norms: Sequence[str],
    inputs: Sequence[Input],
    values: Values,
    others: Callable[[], Values],
) -> None:
    """Turn the drawn statistics of the batch norms of these names, around 0 and 1, into those of a pass over `values`.

    `others` draws as many samples again. Raises ValueError if the module does not take them.
    """
    start = copy.deepcopy([module.get_submodule(name).state_dict() for name in norms])
    for wider in WIDER:
        for name, state in zip(norms, start, strict=True):
            module.get_submodule(name).load_state_dict(state)
        twin = _set_by_pass(module, norms, inputs, values, wider)
        if len(norms) < DEEP or wider == WIDER[-1] or _fits(twin, norms, inputs, others()):
            return


def _set_by_pass(
    module: nn.Module, norms: Sequence[str], inputs: Sequence[Input], values: Values, wider: int
) -> nn.Module:
    """Set the statistics in the order in which a pass over `values` reaches the norms; the copy that made the pass.

    A copy, because modules that cache things on their first call should keep nothing of it.
    """
    twin = copy.deepcopy(module).eval().double()
    seen: dict[str, tuple[Tensor, Tensor] | None] = {}

    def set_once(norm: nn.Module, given: tuple[Tensor, ...], *, name: str) -> None:
        if name not in seen:
            seen[name] = _statistics(given[0])
            _move_(norm, seen[name], wider)

    with _before(twin, {name: partial(set_once, name=name) for name in norms}):
        _run(twin, inputs, values)
    for name, found in seen.items():
        _move_(module.get_submodule(name), found, wider)
    return twin


def _statistics(x: Tensor) -> tuple[Tensor, Tensor] | None:
    """Mean and deviation of each channel of `x` (N, C, …); None for one that is silent, or beyond all numbers."""
    rms = x.square().mean().sqrt()
    if not 0 < float(rms) < float("inf"):
        return None
    values = _by_channel(x)
    if values.shape[1] < FEW:
        deviation = rms.log2().round().exp2().expand(values.shape[0])
        return torch.zeros_like(deviation), deviation
    # no channel counts as nearly silent: on another picture it may not be
    deviation = torch.maximum(values.std(1), rms / 2).log2().round().exp2()
    return (values.mean(1) / deviation * 8).round() / 8 * deviation, deviation


def _move_(norm: nn.Module, found: tuple[Tensor, Tensor] | None, wider: int) -> None:
    """Move drawn statistics to those that were found, of mean m and deviation s: m + s·mean and (wider·s)²·var."""
    if found is not None:
        mean, deviation = found
        norm.get_buffer("running_mean").mul_(deviation).add_(mean)
        norm.get_buffer("running_var").mul_((wider * deviation).square())


# ---- trying --------------------------------------------------------------------------------------------------------


def _fits(twin: nn.Module, norms: Sequence[str], inputs: Sequence[Input], others: Values) -> bool:
    """Whether `others`, which have set no statistics, stay within them, and near one another where they start near."""
    batch = len(next(iter(others.values())))
    near = dict(zip((one.name for one in inputs), map(_in_pairs, others.values()), strict=True))
    fits = True

    def see(norm: nn.Module, given: tuple[Tensor, ...]) -> None:
        nonlocal fits
        fits = fits and _outgrown(norm, given[0]) <= OUTGROWN and _apart(given[0], batch) <= APART * NEAR

    with _before(twin, dict.fromkeys(norms, see)):
        _run(twin, inputs, near)
    return fits


def _in_pairs(samples: Tensor) -> Tensor:
    """The first half of the samples, and behind it the same again, moved a little towards the second half."""
    half = len(samples) // 2
    first, second, odd = samples.split((half, half, len(samples) - 2 * half))
    return torch.cat((first, first + NEAR * second if samples.is_floating_point() else first, odd))


def _outgrown(norm: nn.Module, x: Tensor) -> float:
    """How far `x` (N, C, …) is from the norm's means, in its deviations: the root mean square."""
    mean, var = (norm.get_buffer(f"running_{name}")[:, None] for name in ("mean", "var"))
    return float(((_by_channel(x) - mean).square() / var).mean().sqrt())


def _apart(x: Tensor, batch: int) -> float:
    """How far the pairs are apart, relative to them; 0 where the samples of `x` cannot be told."""
    half = batch // 2
    if not half or len(x) % batch:
        return 0.0
    samples = x.unflatten(0, (batch, -1))
    first, second = samples[:half], samples[half : 2 * half]
    size = float(first.norm())
    return float((second - first).norm()) / size if size else 0.0


def _by_channel(x: Tensor) -> Tensor:
    """(N, C, …) as (C, positions)."""
    return x.transpose(0, 1).flatten(1)


# ---- running -------------------------------------------------------------------------------------------------------


@contextlib.contextmanager
def _before(module: nn.Module, hooks: Mapping[str, Callable[..., None]]) -> Iterator[None]:
    """Call each hook with the submodule of its name and its inputs, before that runs."""
    handles = [module.get_submodule(name).register_forward_pre_hook(hook) for name, hook in hooks.items()]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


def _run(twin: nn.Module, inputs: Sequence[Input], values: Values) -> None:
    """One pass. Raises ValueError if the module does not take `values`."""
    try:
        _call(twin, *handed(inputs, values))
    except (Exception, SystemExit) as error:  # whatever a user's module raises for an input of the wrong shape
        shapes = ", ".join(str(tuple(value.shape)) for value in values.values())
        what = "pictures" if all(one.is_map for one in inputs) else "inputs"
        said = f"the model does not take the {what} that set its batch norms, {shapes}"
        reason = reason_of(error)
        where = culprit(error, behind=__file__)
        at = f" (at {where})" if where else ""
        raise ValueError(f"{said}: {reason}{at}; give the shape that it takes") from error


def _call(twin: nn.Module, positional: Sequence[Tensor], keywords: Values) -> None:
    """One pass in float64, also of a model that makes float32 tensors of its own on the way."""
    try:
        twin(*positional, **keywords)
    except RuntimeError as error:
        try:
            with Wide():
                twin(*positional, **keywords)
        except Exception:
            raise error from None
