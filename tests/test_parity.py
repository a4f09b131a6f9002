import dataclasses
import json

import numpy as np
import pytest
from fuseport.validate.parity import compare, predict
from fuseport.validate.verdict import Tolerance
from hypothesis import given, settings
from hypothesis import strategies as st

SHAPES = {"logits": (8, 100), "aux": (8, 100), "stage": (8, 6, 5, 5)}


def model(seed: int = 0, shapes: dict[str, tuple[int, ...]] = SHAPES) -> dict[str, np.ndarray]:
    draw = np.random.default_rng(seed)
    return {name: draw.normal(size=shape) + draw.normal(size=(1, *shape[1:])) for name, shape in shapes.items()}


def rounded(truth: dict[str, np.ndarray], relative: float, seed: int) -> dict[str, np.ndarray]:
    """The outputs of another run: noise of `relative` times each sample's rms."""
    draw = np.random.default_rng([seed, 99])
    scale = {name: np.sqrt(np.mean(v**2, axis=tuple(range(1, v.ndim)), keepdims=True)) for name, v in truth.items()}
    return {name: v + relative * scale[name] * draw.normal(size=v.shape) for name, v in truth.items()}


TRUTH = model()
REFERENCE = rounded(TRUTH, 1e-6, 1)
HONEST = rounded(TRUTH, 2e-6, 2)


def changed(name: str, place: object, value: object) -> dict[str, np.ndarray]:
    """The honest artifact with `value` at `place` of one output."""
    values = HONEST[name].copy()
    values[place] = value
    return {**HONEST, name: values}


def permuted(name: str, axis: int, i: int, j: int) -> dict[str, np.ndarray]:
    order = np.arange(HONEST[name].shape[axis])
    order[[i, j]] = j, i
    return {**HONEST, name: np.take(HONEST[name], order, axis)}


FAULTS = {
    "doubled": {name: 2 * values for name, values in HONEST.items()},
    "doubled one": {**HONEST, "aux": 2 * HONEST["aux"]},
    "dropped": {name: values for name, values in HONEST.items() if name != "aux"},
    "nothing": {},
    "extra": {**HONEST, "more": HONEST["aux"]},
    "renamed": {"logits": HONEST["logits"], "aux_1": HONEST["aux"], "stage": HONEST["stage"]},
    "swapped outputs": {**HONEST, "logits": HONEST["aux"], "aux": HONEST["logits"]},
    "NaN": changed("stage", (0, 0, 0, 0), np.nan),
    "infinite": changed("logits", (7, 99), -np.inf),
    "batch of one": {name: values[:1] for name, values in HONEST.items()},
    "flattened": {**HONEST, "stage": HONEST["stage"].reshape(8, -1)},
    "channels last": {**HONEST, "stage": HONEST["stage"].transpose(0, 2, 3, 1)},
    "whole numbers": {**HONEST, "logits": np.rint(HONEST["logits"]).astype(np.int64)},
    "permuted classes": permuted("logits", 1, 17, 61),
    "rolled classes": {**HONEST, "logits": np.roll(HONEST["logits"], 1, axis=1)},
    "permuted channels": permuted("stage", 1, 2, 3),
    "permuted samples": permuted("logits", 0, 2, 6),
    "stuck sample": changed("logits", 5, HONEST["logits"][4]),
    "one sample of zeros": changed("aux", 3, 0),
    "one class 1 % off": changed("logits", np.s_[:, 40], 1.01 * HONEST["logits"][:, 40]),
    "one value off": changed("logits", (4, 11), HONEST["logits"][4, 11] + 1e-3),
    "constant": {name: np.repeat(values[:1], 8, axis=0) for name, values in HONEST.items()},
    "mean for all": {name: np.repeat(values.mean(axis=0, keepdims=True), 8, axis=0) for name, values in HONEST.items()},
    "zeros": {name: 0 * values for name, values in HONEST.items()},
    "shifted": {**HONEST, "aux": HONEST["aux"] + 1e-3},
    "mirrored": {**HONEST, "stage": HONEST["stage"][..., ::-1]},
    "float16 storage": {name: values.astype(np.float16) for name, values in HONEST.items()},
}


def test_an_honest_artifact_passes_with_figures_for_every_output():
    parity = compare(TRUTH, REFERENCE, HONEST, inputs="8 pictures, seed 0")
    assert parity.verdict == "passed", parity.reason
    assert [output.name for output in parity.outputs] == ["logits", "aux", "stage"]
    assert (parity.samples, parity.inputs, parity.precision) == (8, "8 pictures, seed 0", "float32")
    logits = parity.outputs[0]
    assert logits.relative_l2 == pytest.approx(2e-6, rel=0.3)
    assert logits.floor == pytest.approx(1e-6, rel=0.3)
    assert logits.snr_db == pytest.approx(-20 * np.log10(logits.relative_l2))
    assert logits.cosine == pytest.approx(1)
    assert logits.max_abs is not None
    assert logits.max_abs < 1e-4
    assert logits.ranking is not None
    assert (logits.ranking.top1, logits.ranking.unexplained_flips) == (1, 0)
    assert parity.outputs[2].ranking is None, "a feature map has no classes"


@pytest.mark.parametrize("fault", FAULTS)
def test_no_fault_passes(fault):
    parity = compare(TRUTH, REFERENCE, FAULTS[fault])
    assert parity.verdict == "failed", parity.reason
    json.dumps(dataclasses.asdict(parity), allow_nan=False)


@pytest.mark.parametrize(
    "fault",
    [name for name in FAULTS if name not in ("float16 storage", "one class 1 % off", "one value off", "shifted")],
)
def test_no_fault_larger_than_rounding_passes_in_float16(fault):
    artifact = {
        name: values.astype(np.float16) if values.dtype.kind == "f" else values
        for name, values in FAULTS[fault].items()
    }
    parity = compare(TRUTH, REFERENCE, artifact, precision="float16", precision_cost=rounded(TRUTH, 3e-3, 3))
    assert parity.verdict == "failed", parity.reason


@pytest.mark.parametrize(
    ("fault", "words"),
    [
        ("dropped", "aux: the artifact lacks this output; it has logits, stage"),
        ("extra", "more: the model has no such output; it has logits, aux, stage"),
        ("renamed", "(and 1 more)"),
        ("doubled one", "it is the model's times 2"),
        ("swapped outputs", "it is the model's output 'aux'"),
        ("permuted classes", "classes 17 and 61 are in another order"),
        ("stuck sample", "for sample 5 it is the model's output for sample 4"),
        ("one class 1 % off", "the error is in class 40 alone"),
        ("mean for all", "it is the same for every sample"),
    ],
)
def test_the_reason_says_what_went_wrong(fault, words):
    assert words in compare(TRUTH, REFERENCE, FAULTS[fault]).reason


@settings(max_examples=60, deadline=None)
@given(
    seed=st.integers(0, 10_000),
    count=st.integers(1, 12),
    classes=st.sampled_from([1, 2, 3, 10, 100, 1000]),
    floor=st.sampled_from([1e-7, 1e-6, 1e-5, 1e-3]),
    ratio=st.floats(0, 3),
)
def test_honest_rounding_never_fails(seed, count, classes, floor, ratio):
    """Whatever the size: also an output of one or two values, whose measured floor is small by luck now and then."""
    truth = model(seed, {"logits": (count, classes)})
    if classes < 32 and floor > 1e-5:
        floor = 1e-5  # see SMALL in bounds.py: few values need the model to be well conditioned
    parity = compare(truth, rounded(truth, floor, seed + 1), rounded(truth, ratio * floor, seed + 2))
    assert parity.verdict != "failed", parity.reason


@settings(max_examples=60, deadline=None)
@given(
    seed=st.integers(0, 10_000),
    count=st.integers(1, 12),
    classes=st.sampled_from([1, 2, 10, 100, 1000]),
    cost=st.sampled_from([5e-4, 2e-3, 8e-3]),
    ratio=st.floats(0, 1.5),
)
def test_honest_float16_rounding_never_fails(seed, count, classes, cost, ratio):
    truth = model(seed, {"logits": (count, classes)})
    if classes < 32:
        cost = min(cost, 2e-3)  # see SMALL in bounds.py: few values need the model to be well conditioned
    parity = compare(
        truth,
        rounded(truth, 1e-6, seed + 1),
        rounded(truth, ratio * cost, seed + 2),
        precision="float16",
        precision_cost=rounded(truth, cost, seed + 3),
    )
    assert parity.verdict != "failed", parity.reason


@settings(max_examples=60, deadline=None)
@given(
    seed=st.integers(0, 10_000),
    count=st.integers(1, 12),
    classes=st.sampled_from([10, 100, 1000]),
    fault=st.sampled_from(["pair", "class", "sample", "scale"]),
)
def test_a_seeded_fault_never_passes(seed, count, classes, fault):
    truth = model(seed, {"logits": (count, classes)})
    artifact = rounded(truth, 1e-6, seed + 2)
    values, draw = artifact["logits"], np.random.default_rng(seed)
    first, second = draw.choice(classes, 2, replace=False)
    if fault == "pair":
        values[:, [first, second]] = values[:, [second, first]]
    elif fault == "class":
        values[:, first] += 0.01 * np.sqrt(np.mean(truth["logits"] ** 2))
    elif fault == "sample":
        values[draw.integers(count)] *= 1.001
    else:
        values *= 0.999
    assert compare(truth, rounded(truth, 1e-6, seed + 1), artifact).verdict == "failed"


def test_scaling_the_model_by_a_power_of_two_changes_no_verdict_and_no_relative_figure():
    for artifact in (HONEST, FAULTS["one value off"]):
        small, large = (
            compare(*({name: factor * values for name, values in run.items()} for run in (TRUTH, REFERENCE, artifact)))
            for factor in (2.0**-40, 2.0**40)
        )
        assert small.verdict == large.verdict
        assert small.outputs[0].relative_l2 == large.outputs[0].relative_l2


def test_an_equal_artifact_has_figures_that_json_can_say():
    parity = compare(TRUTH, REFERENCE, TRUTH)
    assert parity.verdict == "passed"
    assert parity.outputs[0].max_abs == 0
    assert parity.outputs[0].snr_db is None
    json.dumps(dataclasses.asdict(parity), allow_nan=False)


def test_one_output_that_cannot_be_judged_keeps_the_whole_from_passing():
    flat = {**TRUTH, "aux": np.ones((8, 100))}
    parity = compare(flat, flat, flat)
    assert parity.verdict == "not judged"
    assert parity.reason.startswith("aux: ")


def test_a_given_tolerance_is_used_for_every_output():
    assert compare(TRUTH, REFERENCE, FAULTS["shifted"], tolerance=Tolerance(atol=2e-3)).verdict == "passed"
    assert compare(TRUTH, REFERENCE, FAULTS["shifted"], tolerance=Tolerance(atol=5e-4)).verdict == "failed"
    assert compare(TRUTH, REFERENCE, FAULTS["dropped"], tolerance=Tolerance(atol=1e9)).verdict == "failed"
    assert compare(TRUTH, REFERENCE, FAULTS["extra"], tolerance=Tolerance(atol=1e9)).verdict == "failed"


def test_classes_that_lie_too_close_to_tell_apart_are_counted():
    truth = {"logits": TRUTH["logits"].copy()}
    truth["logits"][:, 3] = truth["logits"][:, 8] + 1e-7
    parity = compare(truth, rounded(truth, 1e-6, 1), rounded(truth, 1e-6, 2))
    assert parity.verdict == "passed"
    assert "1 of 4950 pairs of classes lie too close together to tell apart" in parity.reason


def test_runs_of_the_model_that_do_not_fit_together_are_refused():
    with pytest.raises(ValueError, match="nothing to compare"):
        compare({}, {}, {})
    with pytest.raises(ValueError, match="expected the outputs of the truth in reference"):
        compare(TRUTH, {"logits": REFERENCE["logits"]}, HONEST)
    with pytest.raises(ValueError, match="expected the outputs of the truth in precision_cost"):
        compare(TRUTH, REFERENCE, HONEST, precision="float16", precision_cost=FAULTS["batch of one"])
    with pytest.raises(ValueError, match="expected the truth in float64, got float32 for output 'logits'"):
        compare({"logits": TRUTH["logits"].astype(np.float32)}, {"logits": REFERENCE["logits"]}, HONEST)
    with pytest.raises(ValueError, match="no parity bound for precision 'bfloat16'"):
        compare(TRUTH, REFERENCE, HONEST, precision="bfloat16")
    with pytest.raises(ValueError, match="cannot compare output 'z' of dtype complex128"):
        compare({"z": np.ones(2, complex)}, {"z": np.ones(2, complex)}, {})


def test_predict_runs_a_fixed_batch_and_puts_the_samples_together():
    sizes = []

    def runner(inputs: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
        sizes.append(len(inputs["x"]))
        return {"double": 2 * inputs["x"], "sum": inputs["x"].sum(axis=1)}

    x = np.arange(14.0).reshape(7, 2)
    for batch in (None, 1, 2, 7, 10):
        sizes.clear()
        outputs = predict(runner, {"x": x}, batch=batch)
        np.testing.assert_array_equal(outputs["double"], 2 * x)
        np.testing.assert_array_equal(outputs["sum"], x.sum(axis=1))
        assert set(sizes) == {batch or 7}


def test_predict_refuses_inputs_that_disagree_or_are_empty():
    with pytest.raises(ValueError, match=r"same number of samples, at least 1, in every input; got \{'a': 2, 'b': 3\}"):
        predict(dict, {"a": np.ones(2), "b": np.ones(3)})
    with pytest.raises(ValueError, match=r"got \{'a': 0\}"):
        predict(dict, {"a": np.ones((0, 3))})
    with pytest.raises(ValueError, match=r"got \{\}"):
        predict(dict, {})


def test_an_output_that_no_input_reaches_is_judged_by_its_values() -> None:
    table = np.broadcast_to(np.linspace(1, 2, 6), (4, 6))
    runs = {"table": table.copy()}, {"table": table.astype(np.float32)}, {"table": table.astype(np.float32)}
    assert compare(*runs).verdict == "not judged", "it may be that an artifact ignores its input"
    known = compare(*runs, fixed=("table",))
    assert (known.verdict, "the same for every input" in known.reason) == ("passed", True)
    wrong = {"table": table.astype(np.float32) * np.float32(1.01)}
    assert compare(*runs[:2], wrong, fixed=("table",)).verdict == "failed"
