"""Analysis of trained links and attention."""

from .heatmap import plot_link_strength, plot_link_strengths
from .links import link_growth, link_share, link_strength, select_ranges, start_strength

__all__ = [
    "link_growth",
    "link_share",
    "link_strength",
    "plot_link_strength",
    "plot_link_strengths",
    "select_ranges",
    "start_strength",
]
