"""What AAL costs: steps to time side by side, the clock, and counts of operations and bytes."""

from .counting import Counts, count
from .steps import Setting, Steps
from .timing import Timing, interleave, peak_memory

__all__ = ["Counts", "Setting", "Steps", "Timing", "count", "interleave", "peak_memory"]
