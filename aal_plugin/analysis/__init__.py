"""What trained links and attention show."""

from .heatmap import plot_link_strength, plot_link_strengths
from .links import head_strength, link_share, link_strength
from .selection import held_share, select_ranges

__all__ = [
    "head_strength",
    "held_share",
    "link_share",
    "link_strength",
    "plot_link_strength",
    "plot_link_strengths",
    "select_ranges",
]
