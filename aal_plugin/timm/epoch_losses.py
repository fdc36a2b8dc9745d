"""The losses of an epoch's steps: their means, and whether one was no number."""

from __future__ import annotations

import math
from typing import Any

from torch import Tensor

from aal_plugin.core.losses.finite import FiniteMarks


class EpochLosses:
    """Collects the losses of each step on their device; only `mean` and `check` wait for it.

    Example:
        >>> import torch
        >>> losses = EpochLosses()
        >>> for value in (1.0, 3.0):
        ...     losses.add(dict(task_loss=torch.tensor(value)))
        >>> losses.mean("task_loss"), losses.mean("link_distance")
        (2.0, nan)
    """

    def __init__(self) -> None:
        self._sums: dict[str, tuple[Any, int]] = {}  # and the number of steps
        self._marks = FiniteMarks()

    def add(self, losses: dict[str, Tensor], **others: Tensor) -> None:
        """Add a step's losses, and other numbers, in which no NaN is looked for."""
        self._marks.mark(losses)
        for name, value in (losses | others).items():
            total, steps = self._sums.get(name, (0.0, 0))
            # A new tensor: the next step of a CUDA graph overwrites the outputs of this one.
            self._sums[name] = total + value.detach(), steps + 1

    def mean(self, name: str) -> float:
        """The mean over the steps so far; NaN without any."""
        total, steps = self._sums.get(name, (math.nan, 1))
        return float(total) / steps

    def check(self, link_weight: float) -> None:
        """Raise FloatingPointError where a loss was NaN or infinite: names the step and λ."""
        found = self._marks.first_bad()
        if found is not None:
            step, losses = found
            told = ", ".join(f"{name} is {value}" for name, value in losses.items())
            raise FloatingPointError(
                f"step {step} of the epoch: {told}, link_weight={link_weight:g}. Training ends "
                "here, before a checkpoint is made of it; lower the learning rate or the weight "
                "of that loss"
            )
