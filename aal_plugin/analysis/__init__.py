"""Analysis of trained links and attention."""

from .heatmap import plot_link_strength, plot_link_strengths
from .links import (
    head_growth,
    head_strength,
    held_share,
    link_growth,
    link_share,
    link_strength,
    select_ranges,
    start_strength,
)

__all__ = [
    "head_growth",
    "head_strength",
    "held_share",
    "link_growth",
    "link_share",
    "link_strength",
    "plot_link_strength",
    "plot_link_strengths",
    "select_ranges",
    "start_strength",
]
