"""Spreads and paired differences, against scipy's own test and by hand."""

import numpy as np
import pytest

from tools.studies.comparison import (
    difference_of,
    mean_and_spread,
    measures,
    paired_difference,
)
from tools.studies.records import Record


def run(seed, top1, processor="cpu", **weights):
    return Record("a", {}, seed, "hash", weights, "", {}, processor, 1.0, {"accuracy/top1": top1})


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


@pytest.mark.parametrize(
    ("others", "paired"),
    [
        (dict(), True),  # no teacher of its own
        (dict(cnn="A"), True),
        (dict(another="C"), True),  # the teachers are what is compared
        (dict(processor="another kind"), False),
        (dict(cnn="B"), False),  # trained anew
        (dict(another="C", cnn="B"), False),
    ],
)
def test_runs_of_other_processors_or_of_a_teacher_trained_anew_are_no_pairs(others, paired):
    """Neither way round, and one such seed is enough."""
    runs = [run(seed, 5.0 + seed, cnn="A") for seed in range(3)]
    plain = [run(0, 1.0, cnn="A"), run(1, 2.0, **others), run(2, 3.0)]
    there, back = (
        paired_difference(*sides, "accuracy/top1") for sides in ((runs, plain), (plain, runs))
    )
    assert (there is not None, back is not None) == (paired, paired)
    if paired:
        pytest.importorskip("scipy")
        assert (there.mean, back.mean, there.pairs) == (4.0, -4.0, 3)


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
