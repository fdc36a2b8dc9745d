"""Spreads and paired differences, against scipy's own test and by hand."""

import numpy as np
import pytest

from aal_plugin.studies.comparison import difference_of, mean_and_spread, paired_difference
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


def test_words():
    assert mean_and_spread([61.0, 64.0, 67.0]) == "64.0 ± 3.0"
    assert mean_and_spread([61.04]) == "61.0"
    pytest.importorskip("scipy")
    assert str(difference_of([-1.0, -1.0])) == "-1.0 (-1.0 to -1.0)"
