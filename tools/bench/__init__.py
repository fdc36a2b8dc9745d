"""The cost of AAL: steps to time side by side, a clock, and counts of operations and bytes."""
