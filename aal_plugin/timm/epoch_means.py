"""`EpochMeans`: means of a step's numbers over an epoch, without waiting for the device."""

from __future__ import annotations

import math

from torch import Tensor


class EpochMeans:
    """Sums numbers on their device, and reads a sum only to return its mean."""

    def __init__(self) -> None:
        self._sums: dict[str, Tensor] = {}
        self._steps: dict[str, int] = {}

    def add(self, name: str, value: Tensor) -> None:
        """Count a step's scalar; the caller may overwrite it afterwards."""
        value = value.detach()
        # A clone: the next step of a CUDA graph overwrites the outputs of this one.
        self._sums[name] = self._sums[name] + value if name in self._sums else value.clone()
        self._steps[name] = self._steps.get(name, 0) + 1

    def mean(self, name: str) -> float:
        """The mean so far, NaN without any; waits for the device."""
        if name not in self._sums:
            return math.nan
        return float(self._sums[name]) / self._steps[name]
