import numpy as np
import pytest
import torch

from aal_plugin.analysis import link_strength, plot_link_strength
from aal_plugin.core import AttentionLinks

RANGES, HEADS = [(1, 2), (2, 3)], [1, 2, 2]


def planted():
    links = AttentionLinks(RANGES, HEADS, [3, 4])
    for link in links:
        torch.nn.init.constant_(link.weight, 0.1)
    with torch.no_grad():
        links[1].weight[:, 2:] = -0.7  # level 2, block 3
    return {f"link_head.links.{key}": value for key, value in links.state_dict().items()}


def test_planted_links_are_found_and_missing_links_are_nan():
    strength = link_strength(planted(), RANGES, HEADS)
    expected = [[0.1, 0.1, np.nan], [np.nan, 0.1, 0.7]]
    np.testing.assert_allclose(strength, expected, rtol=1e-6)


def test_checkpoint_without_links_is_told():
    with pytest.raises(ValueError, match="no link weights: was this checkpoint trained with AAL?"):
        link_strength({"backbone.weight": torch.zeros(1)}, RANGES, HEADS)


def test_heatmap_labels_blocks_and_levels_from_one():
    axes, bar = plot_link_strength(link_strength(planted(), RANGES, HEADS), "links").axes
    assert [label.get_text() for label in axes.get_xticklabels()] == ["1", "2", "3"]
    assert [label.get_text() for label in axes.get_yticklabels()] == ["1", "2"]
    assert axes.get_xlabel() == "student block" and axes.get_ylabel() == "teacher level"
