"""A module that its owner holds, but does not have among its own modules."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from torch import Tensor, nn


class Unregistered:
    """Holds a module outside its owner's module tree.

    The owner's state dict, parameters, optimizer and DDP buckets do not know it, and so neither
    do checkpoints. A deep copy of the owner holds the same module but does not own it: the owner
    alone moves it between devices, so that an EMA copy on the CPU leaves the teacher where it is.
    """

    def __init__(self, module: nn.Module, owned: bool = True) -> None:
        self.module = module
        self.owned = owned

    def apply(self, fn: Callable[[Tensor], Tensor]) -> None:
        """What the owner's `_apply` passes on: `.to()`, `.cuda()`, `.half()`."""
        if self.owned:
            self.module._apply(fn)

    def __deepcopy__(self, memo: dict[int, Any]) -> Unregistered:
        return Unregistered(self.module, owned=False)
