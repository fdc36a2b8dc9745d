"""What trained links and attention show."""

from .links import link_strength, plot_link_strength

__all__ = ["link_strength", "plot_link_strength"]
