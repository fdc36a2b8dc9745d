import numpy as np
import pytest

from aal_plugin.analysis import held_share, select_ranges
from aal_plugin.core import link_ranges

PLANTED = np.array(
    [
        [0.5, 0.4, 0.05, 0.05],
        [0.0, 0.1, 0.0, 0.9],
        [0.25, 0.25, 0.25, 0.25],
        [0.4, 0.1, 0.1, 0.4],
    ]
)


def brute_force(row, keep):
    runs = [
        (last - first, -sum(row[first : last + 1]), first, last)
        for first in range(len(row))
        for last in range(first, len(row))
        if sum(row[first : last + 1]) >= keep - 1e-9
    ]
    _, _, first, last = min(runs)
    return first + 1, last + 1


def test_planted_links_are_selected():
    assert select_ranges(PLANTED, 0.8) == [(1, 2), (4, 4), (1, 4), (1, 4)]
    assert select_ranges(PLANTED, 0.5) == [(1, 1), (4, 4), (1, 2), (1, 2)]
    held = held_share(PLANTED, select_ranges(PLANTED, 0.8))
    np.testing.assert_allclose(held, [0.9, 0.9, 1, 1])


@pytest.mark.parametrize("keep", [0.1, 0.5, 0.8, 0.95, 1.0])
def test_selection_equals_a_search_over_all_runs(keep):
    share = np.random.default_rng(0).random((7, 12))
    share /= share.sum(axis=1, keepdims=True)
    assert select_ranges(share, keep) == [brute_force(row.tolist(), keep) for row in share]


def test_selection_is_what_the_links_take():
    ranges = select_ranges(PLANTED, 0.8)
    assert link_ranges(ranges, len(PLANTED), PLANTED.shape[1]) == ranges


@pytest.mark.parametrize("keep", [0, 1.2, -0.5])
def test_share_out_of_range_is_named(keep):
    with pytest.raises(ValueError, match=rf"--keep {keep}; choose a share in \(0, 1\]"):
        select_ranges(PLANTED, keep)
