"""Conditioned weights: every tensor matters, activations stay sane, and the same seed gives the same weights."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from contract import CONTRACT, daily_first
from fuseport.models import create
from fuseport.models.conditioned import drawn_pictures, fill_conditioned_
from golden_weights import assert_close
from torch import nn
from torch.utils._pytree import tree_leaves

LEAST = 1e-3
"""A tensor counts as seen if other values in it change the outputs by this much of their norm."""


PINNED = {  # shvit_s1, seed 0
    "stem": (0.04226907, 0.2595123, 0.2409776),
    "blocks2.4.mixer.m.qkv.bn": ((1.050112, 0.1697345, 0.6060081), (1.120567, 1.269166, 0.8442749)),
    "head.bn": ((0.3790457, -0.2117569, 0.3759087), (4.285166, 4.26962, 5.472353)),
}


def conditioned(name: str, seed: int = 0, **options: object) -> nn.Module:
    module = create(name, **options)
    fill_conditioned_(module, seed)
    return module


def photograph(size: int) -> torch.Tensor:
    """A picture with the statistics of a photograph, other than those that calibrate: power falls with frequency²."""
    generator = np.random.default_rng(7)
    frequency = np.hypot(np.fft.fftfreq(size)[:, None], np.fft.rfftfreq(size)[None])
    frequency[0, 0] = 1 / size
    phases = generator.normal(size=(4, *frequency.shape, 2)) @ (1, 1j)
    grey, *colours = np.fft.irfft2(phases / frequency, s=(size, size))
    x = np.stack([grey + 0.3 * colour for colour in colours])[None]
    return torch.from_numpy(((x - x.mean()) / x.std()).astype(np.float32))


def change_of_outputs(module: nn.Module, x: torch.Tensor, projections: int = 2) -> dict[str, float]:
    """By how much of their norm the outputs change when a tensor's values are exchanged among themselves.

    To first order, for all tensors at once: with a random r, the gradient g of r·y and a change d of the weights whose
    elements are independent, the mean square of r·(J d) is Σ g² d².
    """
    y = module(x)
    weights = {name: p for name, p in module.named_parameters() if p.requires_grad}
    squares = dict.fromkeys(weights, 0.0)
    for k in range(projections):
        r = torch.randn(y.shape, generator=torch.Generator().manual_seed(k))
        gradients = torch.autograd.grad((r * y).sum(), list(weights.values()), retain_graph=True)
        for (name, weight), gradient in zip(weights.items(), gradients, strict=True):
            exchanged = (weight.flatten().roll(1).reshape(weight.shape) - weight).detach()
            squares[name] += float((gradient * exchanged).square().sum()) / projections
    return {name: square**0.5 / float(y.detach().norm()) for name, square in squares.items()}


def largest_activation(module: nn.Module, x: torch.Tensor) -> float:
    largest = 0.0

    def watch(_module: nn.Module, _inputs: object, output: object) -> None:
        nonlocal largest
        largest = max(
            largest, *(float(tensor.double().abs().max()) for tensor in tree_leaves(output) if torch.is_tensor(tensor))
        )

    hooks = [child.register_forward_hook(watch) for child in module.modules()]
    with torch.no_grad():
        module(x)
    for hook in hooks:
        hook.remove()
    return largest


# ---- what it is for ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", daily_first(CONTRACT))
def test_every_tensor_matters_and_activations_stay_small(name: str) -> None:
    variant = CONTRACT[name]
    module, x = variant.build(), photograph(variant.preprocessing.size)
    fill_conditioned_(module.eval())
    changes = change_of_outputs(module, x)
    assert {name: change for name, change in changes.items() if change < LEAST} == {}
    assert largest_activation(module, x) < 1e3


def test_a_fresh_model_is_blind_to_most_of_its_tensors() -> None:
    changes = change_of_outputs(create("shvit_s1"), photograph(224), projections=1)
    assert sum(change < LEAST for change in changes.values()) > len(changes) / 2


@pytest.mark.parametrize("name", ["shvit_s1", "swiftformer_xs"])
def test_really_changing_a_tensor_changes_the_logits(name: str) -> None:
    module, x = conditioned(name), photograph(224)
    estimated = change_of_outputs(module, x)
    weakest = sorted(estimated, key=estimated.__getitem__)[:: max(1, len(estimated) // 12)]
    with torch.no_grad():
        before = module(x)
        for tensor in weakest:
            weight = module.get_parameter(tensor)
            kept = weight.clone()
            weight.copy_(kept.flatten().roll(1).reshape(kept.shape))
            assert float((module(x) - before).norm() / before.norm()) > LEAST, tensor
            weight.copy_(kept)


def test_logits_depend_on_the_picture() -> None:
    module = conditioned("shvit_s1")
    with torch.no_grad():
        one, other = module(photograph(224)), module(photograph(224).flip(1))
    assert float((one - other).norm() / one.norm()) > 0.1


@pytest.mark.parametrize("options", [{"attention": "softmax"}, {"distillation": False}], ids=str)
def test_other_forms_are_seen_too(options: dict[str, object]) -> None:
    changes = change_of_outputs(conditioned("swiftformer_xs", **options), photograph(224))
    assert min(changes.values()) > LEAST


# ---- the same weights everywhere -----------------------------------------------------------------------------------


def test_the_weights_of_a_seed_are_pinned() -> None:
    module = conditioned("shvit_s1")
    state = module.state_dict()
    stem = state["patch_embed.0.c.weight"].flatten()[:3]
    assert_close(stem, np.array(PINNED["stem"]), 1e-6)
    for key in ("blocks2.4.mixer.m.qkv.bn", "head.bn"):
        assert_close(state[f"{key}.running_mean"][:3], np.array(PINNED[key][0]), 1e-6)
        assert_close(state[f"{key}.running_var"][:3], np.array(PINNED[key][1]), 1e-6)


def test_seeds_give_equal_or_other_weights() -> None:
    one, same, other = (conditioned("swiftformer_xs", seed).state_dict() for seed in (0, 0, 1))
    assert all(torch.equal(one[key], same[key]) for key in one)
    differing = [key for key in one if not torch.equal(one[key], other[key])]
    assert len(differing) == sum(not key.endswith("num_batches_tracked") for key in one)


def test_torchs_random_numbers_are_neither_used_nor_disturbed() -> None:
    module = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4))
    torch.manual_seed(0)
    fill_conditioned_(module, 0)
    after = torch.rand(1)
    torch.manual_seed(0)
    assert torch.equal(after, torch.rand(1))


# ---- any module ----------------------------------------------------------------------------------------------------


def test_batch_norms_fit_what_reaches_them() -> None:
    module = nn.Sequential(nn.Conv2d(3, 16, 3), nn.BatchNorm2d(16), nn.ReLU(), nn.Conv2d(16, 32, 3), nn.BatchNorm2d(32))
    fill_conditioned_(module.eval(), 3)
    x = (1e3 * drawn_pictures((2, 3, 64, 64), 4)).float()
    module[0].weight.data.mul_(1e-3)
    with torch.no_grad():
        assert 0.3 < float(module(x).square().mean().sqrt()) < 3


def test_free_parameters_get_values_of_their_kind() -> None:
    class Free(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.silent = nn.Parameter(torch.full((64, 1, 1), 1e-6))
            self.scale = nn.Parameter(torch.full((64,), 8.0))
            self.gain = nn.Parameter(torch.ones(64, 1, 1, 1))
            self.position = nn.Parameter(torch.zeros(1, 9, 64))
            self.temperature = nn.Parameter(torch.tensor(4.0))
            self.register_buffer("index", torch.arange(5))
            self.norm = nn.LayerNorm(64)

    module = Free().requires_grad_(False)
    fill_conditioned_(module)
    assert 1 <= float(module.silent.min()) < float(module.silent.max()) <= 2
    assert 0.5 <= float(module.gain.min()) < 1 < float(module.gain.max()) <= 1.5
    assert 2 <= float(module.scale.min()) < float(module.scale.max()) <= 6
    assert float(module.position.std()) == pytest.approx(1, abs=0.1)
    assert 1 <= float(module.temperature) <= 3
    assert module.index.tolist() == [0, 1, 2, 3, 4]
    assert 0.5 <= float(module.norm.weight.min()) < float(module.norm.weight.max()) <= 1.5


@pytest.mark.parametrize(
    "layer",
    [nn.Linear(64, 96), nn.Conv2d(64, 96, 3, padding=1, groups=4), nn.ConvTranspose2d(64, 96, 4, 2, 1, groups=2)],
    ids=lambda layer: type(layer).__name__,
)
def test_layers_keep_the_variance(layer: nn.Module) -> None:
    fill_conditioned_(layer)
    size = (64,) if isinstance(layer, nn.Linear) else (64, 16, 16)
    x = torch.randn(8, *size, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        assert 0.6 < float((layer(x) - layer(x * 0)).std()) < 1.4


def test_a_layer_at_several_places_of_a_stream_does_not_multiply_it() -> None:
    class Stream(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            position = nn.Conv2d(16, 16, 3, padding=1, groups=16)
            self.blocks = nn.ModuleList(nn.ModuleList([position]) for _ in range(10))

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            for (position,) in self.blocks:
                x = x + position(x)
            return x

    module = Stream()
    fill_conditioned_(module)
    x = drawn_pictures((2, 16, 16, 16), 1).float()
    with torch.no_grad():
        assert float(module(x).square().mean().sqrt()) < 20


def test_tied_weights_stay_tied() -> None:
    module = nn.Sequential(nn.Linear(4, 4), nn.Linear(4, 4))
    module[1].weight = module[0].weight
    fill_conditioned_(module)
    assert module[1].weight is module[0].weight


def test_a_norm_that_is_used_twice_is_set_once() -> None:
    class Twice(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv, self.norm = nn.Conv2d(3, 3, 1), nn.BatchNorm2d(3)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.norm(1e3 * self.norm(self.conv(x)))

    module = Twice()
    fill_conditioned_(module.eval())
    assert float(module.norm.running_var.max()) < 100


def test_calibration_leaves_no_trace_in_the_module() -> None:
    class Caching(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.norm, self.cache = nn.BatchNorm2d(3), None

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            self.cache = x if self.cache is None else self.cache
            return self.norm(x)

    module = Caching().train()
    fill_conditioned_(module)
    assert module.cache is None
    assert module.training
    assert module.norm.running_var.dtype == torch.float32
    assert not module.norm._forward_pre_hooks


def test_a_module_without_batch_norms_is_not_run() -> None:
    class Unrunnable(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.linear = nn.Linear(2, 2)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            raise AssertionError

    fill_conditioned_(Unrunnable())


def test_a_model_that_makes_float32_tensors_of_its_own_is_calibrated_all_the_same() -> None:
    class Own(nn.Module):
        def __init__(self, like: bool) -> None:
            super().__init__()
            self.like, self.norm = like, nn.BatchNorm2d(3)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.norm(x @ torch.eye(x.shape[-1], dtype=x.dtype if self.like else torch.float32) * 9)

    found = [Own(like) for like in (True, False)]
    for module in found:
        fill_conditioned_(module, picture=(3, 8, 8))
    assert torch.equal(found[0].norm.get_buffer("running_var"), found[1].norm.get_buffer("running_var"))


def test_a_picture_that_does_not_fit_gets_one_clear_line() -> None:
    module = nn.Sequential(nn.Flatten(), nn.Linear(48, 8), nn.BatchNorm1d(8))
    with pytest.raises(ValueError, match=r"^the model does not take the pictures .*\(4, 3, 224, 224\): mat1 and mat2"):
        fill_conditioned_(module)
    fill_conditioned_(module, picture=(3, 4, 4))
