"""The cost of AAL: steps to time side by side, a clock, and counts of operations and bytes."""

from .counting import Counts, count
from .setting import Setting
from .steps import Steps
from .timing import Timing, interleave, peak_memory
from .work import counts

__all__ = ["Counts", "Setting", "Steps", "Timing", "count", "counts", "interleave", "peak_memory"]
