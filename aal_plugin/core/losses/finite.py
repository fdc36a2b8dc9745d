"""`FiniteMarks`: remembers a loss that became NaN or infinite, without waiting for the device."""

from __future__ import annotations

import torch
from torch import Tensor


class FiniteMarks:
    """Stores the losses of the first step in which one of them was NaN or infinite.

    Example:
        >>> marks = FiniteMarks()
        >>> for value in (1.0, float("inf"), float("nan")):
        ...     marks.mark(dict(loss=torch.tensor(value)))
        >>> marks.first_bad()
        (2, {'loss': inf})
    """

    def __init__(self) -> None:
        self.names: list[str] = []
        self._count = 0
        # Of the first bad step, or of any step before it: its losses, (names,), and its number, or
        # -1 while all losses were finite. Both stay on the device.
        self._marked: tuple[Tensor, Tensor] | None = None

    def mark(self, values: dict[str, Tensor], step: int | None = None) -> None:
        """Examine the losses of a step, which have the same names until `forget`.

        No value is read from the device. Steps count from 1; by default they are the calls.
        """
        self._count += 1
        given = torch.stack([value.detach().float().mean() for value in values.values()])
        if self._marked is None:
            self.names = list(values)
            self._marked = given, torch.full((), -1, device=given.device)
        marked, number = self._marked
        first = (number < 0) & ~given.isfinite().all()
        step = self._count if step is None else step
        self._marked = torch.where(first, given, marked), torch.where(first, step, number)

    def first_bad(self) -> tuple[int, dict[str, float]] | None:
        """The first step that was not finite, and its losses, or None; waits for the device."""
        if self._marked is None or int(self._marked[1]) < 0:
            return None
        values, number = self._marked
        return int(number), dict(zip(self.names, values.tolist()))

    def forget(self) -> None:
        """Start again, with losses of other names."""
        self.names, self._marked = [], None
