import json
import math
from dataclasses import asdict

import pytest
from fuseport.validate.vacuity import coverage


def test_a_check_that_sees_every_tensor_is_complete():
    found = coverage({"stem.weight": 0.7, "head.bias": 2e-3}, 1e-4, statistics={"bn.running_mean": 0.2})
    assert found.complete
    assert (found.seen, found.total, found.blind) == (2, 2, ())
    assert (found.weakest, found.weakest_change) == ("head.bias", 2e-3)
    assert found.describe() == (
        "the check sees all 2 trainable tensors (corrupted, each moves an output by more than 1.0e-04); "
        "all 1 norm statistics"
    )


def test_a_change_within_the_bound_is_not_seen():
    found = coverage({"a": 1e-4, "b": 1.1e-4, "c": 0.0}, 1e-4)
    assert not found.complete
    assert (found.seen, found.blind) == (1, ("a", "c"))
    assert "1 of 3 trainable tensors, not a, c" in found.describe()


def test_the_looser_the_check_the_less_it_sees():
    changes = {f"layer{i}": 10.0**-i for i in range(6)}
    seen = [coverage(changes, bound).seen for bound in (1e-9, 5e-4, 5e-2, 5.0)]
    assert seen == [6, 4, 2, 0]


def test_what_is_not_a_number_is_not_seen_and_what_overflows_is():
    found = coverage({"nan": math.nan, "inf": math.inf}, 1e-4)
    assert found.blind == ("nan",)
    assert found.seen == 1


def test_norm_statistics_are_counted_on_a_line_of_their_own():
    found = coverage({"a": 1.0}, 1e-4, statistics={"mean": 0.0, "var": 1.0})
    assert not found.complete
    assert (found.seen, found.statistics_seen, found.statistics_blind) == (1, 1, ("mean",))
    assert "1 of 2 norm statistics, not mean" in found.describe()
    assert "norm statistics" not in coverage({"a": 1.0}, 1e-4).describe()


def test_many_blind_tensors_are_counted_not_listed():
    found = coverage({f"blocks.{i}.weight": 0.0 for i in range(60)} | {"head": 1.0}, 1e-4)
    assert "1 of 61 trainable tensors, not blocks.0.weight, blocks.1.weight, blocks.2.weight, blocks.3.weight" in (
        found.describe()
    )
    assert "and 56 more" in found.describe()


def test_a_check_that_sees_nothing_says_so():
    found = coverage({"a": 0.0}, 1e-4)
    assert (found.seen, found.weakest, found.weakest_change) == (0, None, None)
    assert "0 of 1 trainable tensors" in found.describe()


def test_the_figures_fit_a_report():
    report = json.loads(json.dumps(asdict(coverage({"a": 1.0}, 1e-4, confirmed=1)), allow_nan=False))
    assert (report["seen"], report["confirmed"], report["blind"]) == (1, 1, [])


def test_nothing_to_cover_and_no_bound_are_refused():
    with pytest.raises(ValueError, match="no trainable tensor"):
        coverage({}, 1e-4)
    for bound in (0.0, -1.0, math.nan):
        with pytest.raises(ValueError, match="expected a bound above 0"):
            coverage({"a": 1.0}, bound)
