"""Losses that are no numbers, marked on the device so that no step waits for it."""

from __future__ import annotations

import torch
from torch import Tensor


class FiniteMarks:
    """Keeps the values of the first step in which one of several was NaN or infinite."""

    def __init__(self) -> None:
        self.names: list[str] = []
        self._values: Tensor | None = None
        self._step: Tensor | None = None  # its number, or -1
        self._count = 0

    def mark(self, values: dict[str, Tensor], step: int | None = None) -> None:
        """Look at a step's values without waiting for them.

        Args:
            values: of the same names each time, until `first_bad` was asked.
            step: its number, counted from 1; by default the number of calls.
        """
        self._count += 1
        step = self._count if step is None else step
        given = torch.stack([value.detach().float().mean() for value in values.values()])
        if self._values is None:
            self.names, self._values = list(values), given
            self._step = torch.full((), -1, device=given.device)
        first = (self._step < 0) & ~given.isfinite().all()
        self._values = torch.where(first, given, self._values)
        self._step = torch.where(first, step, self._step)

    def first_bad(self) -> tuple[int, dict[str, float]] | None:
        """The first step that was not finite, and all its values; None where there is none."""
        if self._step is None or int(self._step) < 0:
            return None
        return int(self._step), dict(zip(self.names, self._values.tolist()))

    def forget(self) -> None:
        """Begin anew, with other names."""
        self.names, self._values, self._step = [], None, None
