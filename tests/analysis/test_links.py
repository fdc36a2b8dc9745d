import numpy as np
import pytest
import torch

from aal_plugin.analysis import (
    link_growth,
    link_share,
    link_strength,
    select_ranges,
    start_strength,
)
from aal_plugin.core import AttentionLinks

RANGES, HEADS = [(1, 2), (2, 3)], [1, 2, 2]


def planted():
    links = AttentionLinks(RANGES, HEADS, [3, 4])
    for link in links:
        torch.nn.init.constant_(link.weight, 0.1)
    with torch.no_grad():
        links[1].weight[:, 2:] = -0.7  # level 2, block 3
        links[0].weight[:, 2] = 0.4  # level 1, second head of block 2
    return {f"link_head.links.{key}": value for key, value in links.state_dict().items()}


def test_planted_links_are_found_and_missing_links_are_nan():
    strength = link_strength(planted(), RANGES, HEADS)
    expected = [[0.1, 0.25, np.nan], [np.nan, 0.1, 0.7]]
    np.testing.assert_allclose(strength, expected, rtol=1e-6)


def test_heads_have_a_column_each_block_after_block():
    strength = link_strength(planted(), RANGES, HEADS, by_head=True)
    expected = [[0.1, 0.1, 0.4, np.nan, np.nan], [np.nan, 0.1, 0.1, 0.7, 0.7]]
    np.testing.assert_allclose(strength, expected, rtol=1e-6)


def test_share_weighs_a_block_by_all_its_heads():
    share = link_share(planted(), RANGES, HEADS)
    expected = [[0.1 / 0.6, 0.5 / 0.6, 0], [0, 0.2 / 1.6, 1.4 / 1.6]]
    np.testing.assert_allclose(share, expected, rtol=1e-6)


def test_links_that_are_all_zero_have_no_share():
    state_dict = planted()
    state_dict["link_head.links.1.weight"].zero_()
    with pytest.raises(ValueError, match=r"all links of teacher levels \[2\] are zero"):
        link_share(state_dict, RANGES, HEADS)


def test_checkpoint_without_links_is_told():
    with pytest.raises(ValueError, match="holds no link weights; give one that AAL trained"):
        link_strength({"backbone.weight": torch.zeros(1)}, RANGES, HEADS)


@pytest.mark.parametrize(
    ("ranges", "words"),
    [
        ([(1, 3), (2, 3)], "level 1 has links to 3 maps, but blocks 1 to 3 have 5 heads"),
        ([(1, 2), (2, 3), (1, 1)], "level 3 has links to 0 maps"),
    ],
)
def test_ranges_of_another_checkpoint_are_told(ranges, words):
    with pytest.raises(ValueError, match=words):
        link_strength(planted(), ranges, HEADS)


def test_untrained_links_have_the_expected_strength_at_the_start():
    """However many blocks a level links, which alone sets the size of its first links."""
    ranges, heads = [(1, 1), (1, 3), (2, 3)], [2, 3, 4]
    state_dict = AttentionLinks(ranges, heads, [20000] * 3).state_dict(prefix="links.")
    expected = start_strength(ranges, heads)
    np.testing.assert_allclose(link_strength(state_dict, ranges, heads), expected, rtol=0.02)
    growth = link_growth(state_dict, ranges, heads, by_head=True)
    np.testing.assert_allclose(growth[1], 1, rtol=0.02)
    assert np.isnan(growth[0, 2:]).all() and growth.shape == (3, 9)


def test_growth_is_relative_to_each_levels_own_start():
    growth = link_growth(planted(), RANGES, HEADS)
    expected = np.array([[0.1, 0.25, np.nan], [np.nan, 0.1, 0.7]]) * 2
    expected *= np.sqrt([[3], [4]])  # maps that a level is linked to
    np.testing.assert_allclose(growth, expected, rtol=1e-6)


# -- selection -------------------------------------------------------------------------------

SHARE = np.array(
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
    assert select_ranges(SHARE, 0.8) == [(1, 2), (4, 4), (1, 4), (1, 4)]
    assert select_ranges(SHARE, 0.5) == [(1, 1), (4, 4), (1, 2), (1, 2)]


@pytest.mark.parametrize("keep", [0.1, 0.5, 0.8, 0.95, 1.0])
def test_selection_equals_a_search_over_all_runs(keep):
    share = np.random.default_rng(0).random((7, 12))
    share /= share.sum(axis=1, keepdims=True)
    assert select_ranges(share, keep) == [brute_force(row.tolist(), keep) for row in share]


@pytest.mark.parametrize("keep", [0, 1.2, -0.5])
def test_share_out_of_range_is_named(keep):
    with pytest.raises(ValueError, match=rf"--keep {keep}; choose a share in \(0, 1\]"):
        select_ranges(SHARE, keep)
