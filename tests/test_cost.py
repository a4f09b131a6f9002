"""`fuseport cost`: totals, sums by module, JSON, and the seed's counting."""

import json

import pytest
from click.testing import CliRunner
from fuseport.export.commands.cost import command
from fuseport.export.cost import by_module, cost, total_of
from fuseport.export.given import given
from fuseport.export.job import Source
from fuseport.reparam.layer_cost import LayerCost
from fuseport.validate.roofline import Roofline

LAYERS = (
    LayerCost("a", "conv2d", "stem.conv", 100, 10, 40, 8, 12),
    LayerCost("b", "relu", "stem", 0, 0, 0, 12, 12),
    LayerCost("c", "linear", "head", 50, 5, 20, 12, 4),
)


def test_intensity_is_operations_over_all_bytes():
    total = total_of(LAYERS)
    assert (total.macs, total.parameters, total.weight_bytes, total.activation_bytes) == (150, 15, 60, 60)
    assert total.intensity == 2 * 150 / 120
    assert total_of(()).intensity == 0


def test_modules_add_up_to_the_whole_at_every_depth():
    for depth in (None, 1, 2):
        found = by_module(LAYERS, depth)
        assert sum(total.macs for total in found.values()) == 150
        assert sum(total.operators for total in found.values()) == 3
    assert list(by_module(LAYERS, 1)) == ["stem", "head"]
    assert list(by_module(LAYERS)) == ["stem.conv", "stem", "head"]


def test_swag_has_the_seed_s_count_beside_ours():
    found = cost(given("vit_b16_in1k", Source(variant="")))
    assert (found.total.parameters, found.total.macs) == (86_859_496, 55_484_350_464)
    assert found.seed is not None
    layers = sum(layer.gflops for layer in found.seed.layers)
    assert found.seed.gflops == pytest.approx(layers + found.seed.outside_layers_gflops)
    assert found.seed.gflops > found.total.macs / 1e9


@pytest.mark.usefixtures("tiny")
def test_the_command_prints_a_table_or_json():
    done = CliRunner().invoke(command, ["shvit_s1", "--depth", "1"])
    assert done.exit_code == 0, done.output
    for told in ("6,330,808", "241,320,768", "blocks1", "patch_embed", "FLOP/byte"):
        assert told in done.output
    done = CliRunner().invoke(command, ["shvit_tiny", "--json"])
    (report,) = json.loads(done.output)["reports"]
    assert report["total"]["macs"] == sum(layer["macs"] for layer in report["layers"]) > 0


@pytest.mark.usefixtures("tiny")
def test_the_least_time_on_this_machine_is_told(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(
        "fuseport.export.profile.rooflines.roofline", lambda threads: Roofline(1e9, 1e12, threads, "given")
    )
    done = CliRunner().invoke(command, ["shvit_tiny", "--roofline", "--threads", "2"])
    assert done.exit_code == 0, done.output
    for told in ("this machine, 2 threads: 1.0 GFLOP/s, 1,000.0 GB/s, ridge 0.0 FLOP/byte", "compute"):
        assert told in done.output
    report = json.loads(CliRunner().invoke(command, ["shvit_tiny", "--roofline", "--json"]).output)
    assert report["roofline"]["flops_per_s"] == 1e9
    macs = report["reports"][0]["total"]["macs"]
    assert report["least"] == [{"bound_ms": pytest.approx(2 * macs / 1e6), "limit": "compute"}]


@pytest.mark.parametrize("name", ["nope.onnx", "shvit_s9", "shvit_s1:features"])
def test_wrong_input_is_one_line_and_exit_code_2(name: str):
    done = CliRunner().invoke(command, [name])
    assert done.exit_code == 2
    assert "Error: " in done.output
    assert "Traceback" not in done.output
