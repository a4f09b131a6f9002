import numpy as np
import pytest
from fuseport.validate.verdict import Finding, Runs, Tolerance, judge

SHAPE = (8, 200)


def model(shape: tuple[int, ...] = SHAPE, seed: int = 0) -> np.ndarray:
    """An output that every sample shares in part, as a network's biases make it."""
    draw = np.random.default_rng(seed)
    return draw.normal(size=shape) + 2 * draw.normal(size=(1, *shape[1:]))


def noisy(truth: np.ndarray, relative: float, seed: int) -> np.ndarray:
    """`truth` with rounding-like noise of `relative` times its rms."""
    return truth + relative * np.sqrt(np.mean(truth**2)) * np.random.default_rng(seed).normal(size=truth.shape)


def verdict_on(artifact, truth=None, *, floor=1e-6, precision="float32", cost=None, tolerance=None) -> Finding:
    truth = model() if truth is None else truth
    rounded = None if cost is None else noisy(truth, cost, seed=2)
    return judge(Runs(truth, noisy(truth, floor, seed=1), artifact, rounded), precision, tolerance)


def test_honest_float32_noise_passes_and_says_where_the_bound_comes_from():
    found = verdict_on(noisy(model(), 3e-6, seed=3).astype(np.float32))
    assert found.verdict == "passed"
    assert "20 x what float32 rounding alone costs" in found.reason
    assert "the worst of 8" in found.reason


def test_honest_float16_noise_passes_float16_and_fails_float32():
    artifact = noisy(model(), 5e-3, seed=3).astype(np.float16)
    assert verdict_on(artifact, precision="float16", cost=4e-3).verdict == "passed"
    assert verdict_on(artifact, precision="float16").verdict == "passed"
    assert verdict_on(artifact).verdict == "failed"


def test_float16_that_errs_beyond_its_measured_cost_fails():
    found = verdict_on(noisy(model(), 5e-3, seed=3), precision="float16", cost=1e-3)
    assert found.verdict == "failed"
    assert "exceeds" in found.reason
    assert "3 x what float16 rounding alone costs" in found.reason


def test_a_precision_that_ruins_the_output_fails_whatever_it_costs():
    found = verdict_on(noisy(model(), 0.2, seed=3), precision="float16", cost=0.2)
    assert found.verdict == "failed"
    assert "the most that passes for any precision" in found.reason


@pytest.mark.parametrize("sample", [0, 5, 7])
def test_one_bad_sample_is_not_hidden_by_seven_good_ones(sample):
    artifact = noisy(model(), 1e-6, seed=3)
    artifact[sample] *= 1.001
    found = verdict_on(artifact)
    assert found.verdict == "failed"
    assert found.worst_sample == sample


def test_one_bad_value_of_many_is_not_hidden_by_l2():
    truth = model((4, 100_000))
    artifact = noisy(truth, 1e-6, seed=3)
    artifact[2, 777] += 1e-3
    found = verdict_on(artifact, truth)
    assert found.verdict == "failed"
    assert "largest error over rms" in found.reason
    assert found.worst_sample == 2


def test_a_wrong_shape_or_kind_fails():
    assert "expected shape (8, 200), got (8, 199)" in verdict_on(model()[:, 1:]).reason
    assert "expected shape (8, 200), got (7, 200)" in verdict_on(model()[1:]).reason
    assert "expected float values, got whole" in verdict_on(model().astype(np.int32)).reason
    assert "expected float values, got complex128" in verdict_on(model().astype(complex)).reason
    wrong = (model()[:, 1:], model()[1:], model().astype(np.int32), model() != 0, model().astype(complex))
    assert {verdict_on(artifact).verdict for artifact in wrong} == {"failed"}


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("tolerance", [None, Tolerance(1e9, 1e9)])
def test_a_value_that_is_not_finite_fails_under_any_tolerance(value, tolerance):
    artifact = model()
    artifact[3, 4] = value
    found = verdict_on(artifact, tolerance=tolerance)
    assert found.verdict == "failed"
    assert "1 of 1600 values are NaN or infinite" in found.reason


def test_a_model_that_is_not_finite_is_not_judged_but_the_artifact_still_can_fail():
    truth = model()
    truth[0, 0] = np.nan
    assert verdict_on(truth, truth).verdict == "not judged"
    assert "NaN or infinite" in verdict_on(truth, truth).reason
    artifact = truth.copy()
    artifact[1, 1] = np.nan
    assert verdict_on(artifact, truth).verdict == "failed"
    reference = model()
    reference[2, 2] = np.inf
    assert judge(Runs(model(), reference, model()), "float32", None).verdict == "not judged"


def test_an_ill_conditioned_model_is_not_judged():
    found = verdict_on(noisy(model(), 3e-2, seed=3), floor=3e-2)
    assert found.verdict == "not judged"
    assert "ill-conditioned" in found.reason
    assert found.floor == pytest.approx(3e-2, rel=0.3)


def test_ill_conditioned_samples_are_left_out_and_said_and_the_others_still_count():
    truth = model()
    reference = noisy(truth, 1e-6, seed=1)
    reference[:2] = noisy(truth, 5e-2, seed=2)[:2]
    artifact = noisy(truth, 1e-6, seed=3)
    artifact[:2] = noisy(truth, 5e-2, seed=4)[:2]
    found = judge(Runs(truth, reference, artifact), "float32", None)
    assert found.verdict == "passed"
    assert "2 of 8 samples are ill-conditioned and not judged" in found.reason
    artifact[6] *= 1.001
    assert judge(Runs(truth, reference, artifact), "float32", None).verdict == "failed"


def test_an_output_that_ignores_the_input_is_not_judged():
    flat = np.repeat(model()[:1], 8, axis=0)
    assert verdict_on(flat, flat).verdict == "not judged"
    nearly = noisy(flat, 1e-7, seed=5)
    found = verdict_on(nearly, nearly)
    assert found.verdict == "not judged"
    assert "hardly depends on the input" in found.reason
    assert verdict_on(0 * flat, 0 * flat).verdict == "not judged"


def test_a_constant_artifact_of_a_model_that_varies_a_little_fails():
    truth = noisy(np.repeat(model()[:1], 8, axis=0), 1e-3, seed=5)
    constant = np.repeat(truth.mean(axis=0, keepdims=True), 8, axis=0)
    assert verdict_on(constant, truth).verdict == "failed"
    assert verdict_on(noisy(truth, 1e-6, seed=3), truth).verdict == "passed"
    assert verdict_on(constant, truth, precision="float16").verdict == "not judged", "the default bound is too wide"


def test_a_given_tolerance_replaces_the_bound():
    artifact = model() + 1e-3
    assert verdict_on(artifact).verdict == "failed"
    found = verdict_on(artifact, tolerance=Tolerance(atol=2e-3))
    assert found.verdict == "passed"
    assert "given tolerance atol 0.002, rtol 0" in found.reason
    tight = verdict_on(artifact, tolerance=Tolerance(atol=9e-4))
    assert tight.verdict == "failed"
    assert "1600 of 1600 values exceed" in tight.reason


def test_a_given_tolerance_judges_an_ill_conditioned_model_and_says_that_it_is_one():
    found = verdict_on(noisy(model(), 3e-2, seed=3), floor=3e-2, tolerance=Tolerance(atol=1.0))
    assert found.verdict == "passed"
    assert "float32 PyTorch itself is off by" in found.reason
    assert "float32 PyTorch itself" not in verdict_on(model(), tolerance=Tolerance(atol=1.0)).reason


def test_a_relative_tolerance_is_relative_to_the_truth():
    truth = model()
    artifact = 1.01 * truth
    assert verdict_on(artifact, truth, tolerance=Tolerance(rtol=0.0101)).verdict == "passed"
    assert verdict_on(artifact, truth, tolerance=Tolerance(rtol=0.0099)).verdict == "failed"


@pytest.mark.parametrize("value", [-1.0, np.nan, np.inf])
def test_a_tolerance_that_is_no_bound_is_refused(value):
    with pytest.raises(ValueError, match="atol must be a finite number of 0 or more"):
        Tolerance(atol=value)
    with pytest.raises(ValueError, match="rtol must be a finite number of 0 or more"):
        Tolerance(rtol=value)


def test_indices_and_labels_must_be_equal():
    labels, indices = np.array(["cat", "dog", "cow"]), np.array([3, 1, 2])
    assert judge(Runs(labels, labels, labels), "float32", None).verdict == "passed"
    assert judge(Runs(indices, indices, indices.astype(np.int32)), "float32", None).verdict == "passed"
    wrong = judge(Runs(labels, labels, np.array(["cat", "cow", "cow"])), "float32", None)
    assert (wrong.verdict, wrong.reason) == ("failed", "1 of 3 values differ")
    assert judge(Runs(indices, indices, np.array([3, 2, 1])), "float32", None).verdict == "failed"


def test_an_index_that_rounding_alone_changes_is_left_out():
    truth, reference = np.array([3, 1, 2]), np.array([3, 1, 5])
    found = judge(Runs(truth, reference, np.array([3, 1, 9])), "float32", None)
    assert found.verdict == "passed"
    assert "1 that rounding alone changes are left out" in found.reason
    assert judge(Runs(truth, reference, np.array([4, 1, 2])), "float32", None).verdict == "failed"
    assert judge(Runs(truth, truth, truth, np.array([7, 7, 2])), "float16", None).verdict == "not judged"


def test_scalars_single_samples_and_empty_outputs():
    one = model((1, 200))
    assert verdict_on(noisy(one, 1e-6, seed=3), one).verdict == "passed"
    assert verdict_on(1.001 * one, one).verdict == "failed"
    assert verdict_on(np.array(2.0), np.array(2.0)).verdict == "passed"
    assert verdict_on(np.array(2.1), np.array(2.0)).verdict == "failed"
    empty = np.zeros((0, 4))
    assert judge(Runs(empty, empty, empty), "float32", None).verdict == "not judged"
    rowless = np.zeros((4, 0))
    assert judge(Runs(rowless, rowless, rowless), "float32", None).verdict == "not judged"


def test_a_choice_that_float32_flips_may_flip_in_the_file_too():
    """In two samples choices hang on rounding: one in the third, two in the sixth; each makes a step of its own."""
    truth, draw = model(), np.random.default_rng(7)
    one, two, three = (np.zeros(SHAPE) for _ in range(3))
    for step, sample in ((one, 2), (two, 5), (three, 5)):
        step[sample] = 3e-5 * draw.normal(size=SHAPE[1])
    flips = (one + two, three, one, np.zeros(SHAPE))
    near = tuple(noisy(truth, 3e-7, seed) + flip for seed, flip in enumerate(flips, 3))

    def judged(error: np.ndarray, near: tuple[np.ndarray, ...] = near) -> Finding:
        return judge(
            Runs(truth, noisy(truth, 1e-7, 1), noisy(truth, 1e-7, 8) + error, neighbours=near), "float32", None
        )

    for flip in (one, one + two + three, two):
        found = judged(flip)
        assert found.verdict == "passed"
        assert "by choices that float32 noise flips as well" in found.reason
        assert judged(flip, near[3:]).verdict == "failed"
    assert judged(np.zeros(SHAPE)).reason.count("flips") == 0
    for fault in (5 * one, np.roll(one, 1, axis=0), np.roll(one, 1, axis=1), one + 1e-4 * truth):
        assert judged(fault).verdict == "failed"
    assert judged(one, (np.full(SHAPE, np.nan),)).verdict == "failed"
