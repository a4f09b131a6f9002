import math

import pytest
import timm
import torch
from fuseport.export import mapped as mapped_file
from fuseport.export.proof import sensitivity as file
from fuseport.export.proof.sensitivity import Sensitivity, confirm, estimate, sensitivity
from fuseport.validate.vacuity import coverage
from torch import Tensor, nn

BOUND = 1e-5


class Network(nn.Module):
    """Two convolutions with norms, a squeeze-and-excite gate and a head: the parts of a vision model."""

    def __init__(self) -> None:
        super().__init__()
        self.stem, self.stem_norm = nn.Conv2d(3, 8, 3, bias=False), nn.BatchNorm2d(8)
        self.gate = nn.Linear(8, 8)
        self.body, self.body_norm = nn.Conv2d(8, 16, 3), nn.BatchNorm2d(16)
        self.head = nn.Linear(16, 10)

    def forward(self, x: Tensor) -> Tensor:
        x = torch.relu(self.stem_norm(self.stem(x)))
        x = x * torch.sigmoid(self.gate(x.mean((2, 3))))[:, :, None, None]
        return self.head(nn.functional.gelu(self.body_norm(self.body(x))).mean((2, 3)))


def conditioned(module: nn.Module, seed: int = 0) -> nn.Module:
    draw = torch.Generator().manual_seed(seed)
    for name, value in (*module.named_parameters(), *module.named_buffers()):
        if value.ndim == 1:
            centre = 0.0 if name.endswith(("bias", "mean")) else 1.0
            value.data = centre + 0.3 * torch.randn(value.shape, generator=draw).clamp(-2, 2)
    return module.eval()


def ordinary() -> nn.Module:
    torch.manual_seed(0)
    return conditioned(Network())


def picture(size: int = 12, channels: int = 3) -> Tensor:
    return torch.randn(1, channels, size, size, generator=torch.Generator().manual_seed(1))


def brute_force(module: nn.Module, x: Tensor, name: str, tries: int = 20) -> float:
    """Root mean square of the relative change over random signs, each from a forward of its own; restores the value."""
    owner, _, leaf = name.rpartition(".")
    value = getattr(module.get_submodule(owner), leaf)
    clean, draw, changes = value.detach().clone(), torch.Generator().manual_seed(2), []
    size = clean.abs() / 2 if leaf == "running_var" else clean.abs()
    with torch.no_grad():
        before = module(x)
        for _ in range(tries):
            value.copy_(clean + size * (torch.randint(0, 2, clean.shape, generator=draw) * 2 - 1))
            changes.append(float((module(x) - before).norm() / before.norm()))
        value.copy_(clean)
    return math.sqrt(sum(change**2 for change in changes) / tries)


def silenced() -> nn.Module:
    """The same with a zero in the way: nothing before the scale of the last norm reaches the output."""
    network = ordinary()
    nn.init.zeros_(network.get_parameter("body_norm.weight"))
    return network


@pytest.mark.parametrize("name", [*dict(Network().named_parameters())])
def test_estimates_of_weights_agree_with_corrupting_each_tensor(name):
    network = ordinary()
    estimate = sensitivity(network, picture(), bound=1e-9).trainable[name]
    assert 0.4 < estimate / brute_force(network, picture(), name) < 2.5


@pytest.mark.parametrize("norm", ["stem_norm", "body_norm"])
@pytest.mark.parametrize("key", ["running_mean", "running_var"])
def test_estimates_of_norm_statistics_agree_with_corrupting_them(norm, key):
    network = ordinary()
    estimate = sensitivity(network, picture(), bound=1e-9).statistics[f"{norm}.{key}"]
    assert 0.4 < estimate / brute_force(network, picture(), f"{norm}.{key}") < 2.5


def test_a_linear_model_is_estimated_exactly_up_to_the_random_directions():
    torch.manual_seed(0)
    head = nn.Linear(50, 400).eval().requires_grad_(False)
    x = torch.randn(1, 50, generator=torch.Generator().manual_seed(3))
    expected = float(((head.weight.abs() * x) ** 2).sum().sqrt() / head(x).norm())
    assert sensitivity(head, x, bound=1e-9).trainable["weight"] == pytest.approx(expected, rel=0.1)


def test_one_direction_in_a_big_model_stays_within_the_margin(monkeypatch):
    usual = sensitivity(ordinary(), picture(), bound=1e-9)
    monkeypatch.setattr(file, "HEAVY_BYTES", 1)
    single = sensitivity(ordinary(), picture(), bound=1e-9)
    assert single != usual
    for name, figure in usual.trainable.items():
        assert figure / file.MARGIN < single.trainable[name] < figure * file.MARGIN, name


def test_values_kept_to_three_digits_move_no_estimate_by_more_than_a_few_percent(monkeypatch):
    exact = sensitivity(ordinary(), picture(), bound=1e-9)
    monkeypatch.setattr(file, "COARSE_BYTES", 1)
    coarse = sensitivity(ordinary(), picture(), bound=1e-9)
    assert coarse != exact
    for name, figure in (exact.trainable | exact.statistics).items():
        assert (coarse.trainable | coarse.statistics)[name] == pytest.approx(figure, rel=0.03), name


def test_values_that_wait_on_disk_give_the_same_figures(tmp_path, monkeypatch):
    for one, name in ((file, "COARSE_BYTES"), (mapped_file, "LARGE_BYTES"), (mapped_file, "HEAVY_BYTES")):
        monkeypatch.setattr(one, name, 1)
    monkeypatch.setattr(mapped_file, "_free_at_once", lambda: None)
    network = ordinary()
    expected = sensitivity(network, picture(), bound=1e-9)
    with mapped_file.mapped(tmp_path, network) as memory:
        assert sensitivity(network, picture(), bound=1e-9, memory=memory) == expected


def test_every_tensor_is_listed_and_the_module_is_left_as_it_was():
    network = ordinary()
    network.get_parameter("stem.weight").requires_grad_(False)
    before = {name: value.clone() for name, value in network.state_dict().items()}
    found = sensitivity(network, picture(), bound=0.5, max_forwards=5)
    assert list(found.trainable) == [name for name, _ in network.named_parameters()], "frozen ones as well"
    assert set(found.statistics) == {name for name in before if "running" in name}
    assert all(torch.equal(before[name], value) for name, value in network.state_dict().items())
    assert not network.get_parameter("stem.weight").requires_grad
    assert network.get_parameter("head.weight").requires_grad
    assert all(value.grad is None for value in network.parameters())


def test_a_conditioned_model_is_seen_without_a_single_trial():
    found = sensitivity(ordinary(), picture(), bound=BOUND)
    assert coverage(found.trainable, BOUND, statistics=found.statistics).complete
    assert (found.confirmed, found.forwards) == (0, 0)


def test_tensors_that_a_zero_silences_are_blind_and_found_in_one_forward():
    found = sensitivity(silenced(), picture(), bound=BOUND)
    cover = coverage(found.trainable, BOUND, statistics=found.statistics)
    hidden = (
        "stem.weight",
        "stem_norm.weight",
        "stem_norm.bias",
        "gate.weight",
        "gate.bias",
        "body.weight",
        "body.bias",
    )
    assert cover.blind == hidden
    assert found.trainable["body_norm.weight"] > BOUND, "the zeros themselves are corrupted by 1"
    assert len(cover.statistics_blind) == 4
    assert (found.confirmed, found.forwards) == (11, 1)


def test_a_fresh_shvit_hides_59_of_its_78_weight_tensors():
    torch.manual_seed(0)
    network = timm.create_model("shvit_s1").eval()
    found = sensitivity(network, torch.randn(1, 3, 224, 224), bound=BOUND)
    weights = {name: found.trainable[name] for name, value in network.named_parameters() if value.ndim >= 2}
    assert len(weights) == 78
    assert len(coverage(weights, BOUND).blind) == 59
    assert found.forwards <= 4


class Gated(nn.Module):
    """y = x + f(w) x: `f` decides what a gradient at w says."""

    def __init__(self, gate, value: float) -> None:
        super().__init__()
        self.gate, self.scale = gate, nn.Parameter(torch.full((3,), value))
        self.dead = nn.Parameter(torch.ones(5))

    def forward(self, x: Tensor) -> Tensor:
        return x + self.gate(self.scale)[:, None, None] * x + 0 * self.dead.sum()


@pytest.mark.parametrize(
    ("gate", "value"),
    [
        (torch.square, 0.0),  # the gradient vanishes at 0, the function does not
        (nn.Hardtanh(), 1.5),  # flat here, but not at 0
        (torch.round, 2.0),  # flat everywhere
        (lambda scale: scale.detach(), 1.0),  # cut off from the graph
    ],
)
def test_a_visible_tensor_with_no_gradient_is_found_among_the_blind(gate, value):
    found = sensitivity(Gated(gate, value).eval(), picture(), bound=BOUND)
    assert found.trainable["scale"] > 0.1
    assert found.trainable["dead"] == 0
    assert (found.confirmed, found.forwards) == (2, 3), "both together, then each"


def test_a_corruption_that_overflows_is_seen():
    found = sensitivity(
        Gated(lambda scale: torch.exp(1e4 * (scale - 1).clamp(min=1e-3)), 1.0).eval(), picture(), bound=BOUND
    )
    assert found.trainable["scale"] == math.inf


def test_too_few_forwards_leave_the_estimate_and_say_how_many_were_confirmed():
    found = sensitivity(silenced(), picture(), bound=BOUND, max_forwards=0)
    assert (found.confirmed, found.forwards) == (0, 0)
    assert found.trainable["stem.weight"] == 0
    assert len(coverage(found.trainable, BOUND).blind) == 7


def test_doubtful_estimates_are_replaced_by_measured_figures():
    network = ordinary()
    rough = sensitivity(network, picture(), bound=1e-9).trainable
    bound = 0.9 * min(rough.values())
    found = sensitivity(network, picture(), bound=bound)
    weakest = min(rough, key=lambda name: rough[name])
    assert found.confirmed >= 1
    assert found.trainable[weakest] != rough[weakest]
    assert found.trainable[weakest] == pytest.approx(rough[weakest], rel=1.0)


class TwoOutputs(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.large, self.small = nn.Linear(4, 4), nn.Linear(4, 4)

    def forward(self, x: Tensor) -> dict[str, object]:
        return {"large": 1e6 * self.large(x), "labels": self.large(x).argmax(1), "small": [1e-6 * self.small(x)]}


def test_an_output_counts_in_its_own_units_however_small():
    found = sensitivity(TwoOutputs().eval(), torch.ones(1, 4), bound=BOUND)
    assert min(found.trainable.values()) > 0.01


def test_norms_without_weights_are_tried_and_norms_without_statistics_have_none():
    network = nn.Sequential(nn.Conv2d(3, 4, 1), nn.BatchNorm2d(4, affine=False), nn.Flatten(), nn.Linear(36, 5)).eval()
    network[1].running_mean.fill_(0.5)
    found = sensitivity(network, picture(3), bound=BOUND)
    assert found.statistics["1.running_mean"] > 0.01
    assert found.statistics["1.running_var"] > 0.01
    bare = nn.Sequential(nn.Conv2d(3, 4, 1), nn.BatchNorm2d(4, track_running_stats=False)).eval()
    assert sensitivity(bare, picture(3), bound=BOUND).statistics == {}


def test_a_norm_alone_and_tied_weights():
    norm = conditioned(nn.BatchNorm2d(3))
    assert set(sensitivity(norm, picture(), bound=BOUND).statistics) == {"running_mean", "running_var"}
    tied = nn.Sequential(nn.Linear(4, 4), nn.Linear(4, 4)).eval()
    tied[1].weight = tied[0].weight
    found = sensitivity(tied, torch.ones(1, 4), bound=BOUND)
    assert set(found.trainable) == {"0.weight", "0.bias", "1.bias"}


def test_outputs_that_are_not_finite_leave_every_figure_open():
    network = ordinary()
    with torch.no_grad():
        network.get_parameter("head.bias")[0] = math.nan
    found = sensitivity(network, picture(), bound=BOUND)
    assert all(math.isnan(figure) for figure in (*found.trainable.values(), *found.statistics.values()))
    assert coverage(found.trainable, BOUND).seen == 0


def test_the_same_seed_gives_the_same_figures():
    network = ordinary()
    runs: list[Sensitivity] = [sensitivity(network, picture(), bound=0.1, seed=4) for _ in range(2)]
    assert runs[0] == runs[1]


def test_training_mode_and_models_without_float_outputs_are_refused():
    with pytest.raises(ValueError, match="expected a module in eval mode"):
        sensitivity(Network(), picture(), bound=BOUND)

    class Labels(nn.Linear):
        def forward(self, input: Tensor) -> Tensor:
            return super().forward(input).argmax(1)

    with pytest.raises(ValueError, match="no float output"):
        sensitivity(Labels(4, 4).eval(), torch.ones(1, 4), bound=BOUND)


def test_estimates_serve_several_bounds() -> None:
    once = estimate(silenced(), picture())
    for bound in (BOUND, 0.5):
        assert confirm(once, bound) == sensitivity(silenced(), picture(), bound=bound)
