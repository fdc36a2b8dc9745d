"""Spreads and paired differences, against scipy's own test and by hand."""

import numpy as np
import pytest

from aal_plugin.studies.comparison import (
    difference_of,
    mean_and_spread,
    measures,
    paired_difference,
)
from aal_plugin.studies.records import Record


def run(seed, top1, arm="a"):
    return Record(arm, {}, seed, "hash", {}, "", {}, "cpu", 1.0, {"accuracy/top1": top1})


def test_interval_is_scipys_paired_t_interval():
    stats = pytest.importorskip("scipy.stats")
    generator = np.random.default_rng(0)
    ours, others = generator.normal(70, 5, 5), generator.normal(60, 9, 5)
    interval = stats.ttest_rel(ours, others).confidence_interval(0.95)
    runs = [run(seed, value) for seed, value in enumerate(ours)]
    rest = [run(seed, value) for seed, value in reversed(list(enumerate(others)))]
    found = paired_difference(runs, rest, "accuracy/top1")
    assert found.mean == pytest.approx(np.mean(ours) - np.mean(others))
    assert (found.low, found.high) == pytest.approx((interval.low, interval.high))
    assert found.pairs == 5


def test_only_common_seeds_are_paired():
    found = paired_difference(
        [run(0, 5.0), run(1, 9.0)], [run(1, 6.0), run(7, 1.0)], "accuracy/top1"
    )
    assert (found.mean, found.pairs, str(found)) == (3.0, 1, "+3.0")
    assert paired_difference([run(0, 5.0)], [run(1, 6.0)], "accuracy/top1") is None


def test_measures_of_the_validation_curve():
    curve = {"accuracy/top1": [[4, 8, 20], [10.0, 30.0, 60.0]]}
    measured = Record("a", {}, 0, "", {}, "", {}, "", 1.0, {"accuracy/top1": 55.0}, curve)
    assert measured.measure("accuracy/top1") == 55.0  # of the test images
    assert measured.measure("epochs to 30") == 8
    assert measured.measure("epochs to 30.5") == 20
    assert measured.measure("epochs to 61") is None
    # Straight lines from (0, 0): triangles and trapezoids by hand.
    assert measured.measure("area") == pytest.approx((4 * 5 + 4 * 20 + 12 * 45) / 20)
    assert measured.measure("localization/gt_known") is None
    assert run(0, 5.0).measure("area") is None  # no curve
    fast, slow = measured, run(0, 5.0)
    assert measures([fast, slow], "epochs to 30") == [8]
    assert paired_difference([fast], [slow], "epochs to 30") is None


def test_words():
    assert mean_and_spread([61.0, 64.0, 67.0]) == "64.0 ± 3.0"
    assert mean_and_spread([61.04]) == "61.0"
    pytest.importorskip("scipy")
    assert str(difference_of([-1.0, -1.0])) == "-1.0 (-1.0 to -1.0)"
