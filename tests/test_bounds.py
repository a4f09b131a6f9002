import numpy as np
import pytest
from fuseport.validate.bounds import ALLOWANCES, Errors, bounds, errors, scales


def same(value: float, peak: float | None = None, count: int = 4) -> Errors:
    return Errors(np.full(count, value), np.full(count, 3 * value if peak is None else peak))


def test_errors_are_in_units_of_each_sample():
    truth = np.array([[3.0, 4.0], [300.0, 400.0]])
    found = errors(truth * [[1.1], [1.01]], truth)
    np.testing.assert_allclose(found.l2, [0.1, 0.01])
    np.testing.assert_allclose(found.peak, [0.4 / 12.5**0.5, 0.04 / 12.5**0.5])


def test_a_nearly_silent_sample_is_measured_by_the_others():
    truth = np.array([[1.0, -1.0], [1e-9, -1e-9]])
    np.testing.assert_allclose(scales(truth), [1, 1e-3 / 2**0.5])
    np.testing.assert_array_equal(scales(np.zeros((2, 3))), [1, 1])


def test_an_overflowed_run_has_an_error_that_is_not_finite_and_warns_of_nothing():
    truth = np.ones((2, 2))
    assert not errors(np.array([[1.0, np.inf], [np.nan, 1.0]]), truth).finite
    assert errors(truth, truth).finite


def test_float32_may_err_by_a_factor_of_the_floor():
    bound = bounds("float32", 1000, same(2e-6))
    np.testing.assert_allclose(bound.l2, 20 * 2e-6)
    np.testing.assert_allclose(bound.peak, 20 * 6e-6)
    assert bound.why(0, "l2") == "20 x what float32 rounding alone costs, 2.0e-06"


def test_a_lucky_sample_gets_the_median_and_an_unlucky_one_its_own():
    floor = Errors(np.array([1e-6, 2e-6, 2e-6, 9e-6]), np.full(4, 1e-5))
    np.testing.assert_allclose(bounds("float32", 1000, floor).l2, [4e-5, 4e-5, 4e-5, 18e-5])


def test_the_least_bound_leaves_room_for_folded_weights():
    bound = bounds("float32", 1000, same(1e-8))
    assert bound.l2[0] == ALLOWANCES["float32"].least[0]
    assert "least bound of float32" in bound.why(0, "l2")


def test_no_yardstick_moves_a_bound_past_the_most():
    bound = bounds("float16", 1000, same(1e-6), same(0.3))
    assert bound.l2[0] == 5e-2
    assert bound.peak[0] == 0.25
    assert bound.why(0, "l2") == "the most that passes for any precision"


def test_float16_may_err_by_a_factor_of_its_measured_cost():
    bound = bounds("float16", 1000, same(1e-6), same(3e-3))
    np.testing.assert_allclose(bound.l2, 9e-3)
    assert bound.why(2, "peak") == "3 x what float16 rounding alone costs, 9.0e-03"


@pytest.mark.parametrize(
    ("cost", "words"), [(None, "not measured"), (same(np.inf), "overflows"), (same(np.nan), "overflows")]
)
def test_without_a_usable_cost_float16_has_a_default_that_is_said(cost, words):
    bound = bounds("float16", 1000, same(1e-6), cost)
    np.testing.assert_allclose(bound.l2, ALLOWANCES["float16"].unmeasured[0])
    assert words in bound.why(0, "l2")


def test_few_values_are_no_steady_yardstick():
    assert bounds("float32", 2, same(1e-8)).l2[0] == ALLOWANCES["float32"].unmeasured[0]
    assert bounds("float16", 2, same(1e-8), same(1e-5)).l2[0] == ALLOWANCES["float16"].unmeasured[0]


def test_an_unknown_precision_is_refused():
    with pytest.raises(ValueError, match="no parity bound for precision 'int3'; known: float32, float16"):
        bounds("int3", 10, same(1e-6))
