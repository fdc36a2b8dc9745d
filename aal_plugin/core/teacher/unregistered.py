"""A module that its owner uses, but does not list among its own modules."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Generic, TypeVar

from torch import Tensor, nn

Kept = TypeVar("Kept", bound=nn.Module)


class Unregistered(Generic[Kept]):
    """Keeps a module outside its owner's module tree.

    The owner's state dict, parameters, optimizer, DDP buckets and checkpoints do not contain it.
    A deep copy of the owner shares the module but does not own it: only the owner moves it
    between devices, so that an EMA copy on the CPU does not move the teacher.

    Example:
        >>> class Owner(nn.Module):
        ...     def __init__(self):
        ...         super().__init__()
        ...         self.teacher = Unregistered(nn.Linear(2, 2))
        >>> list(Owner().state_dict())
        []
    """

    def __init__(self, module: Kept, owned: bool = True) -> None:
        self.module = module
        self.owned = owned

    def apply(self, fn: Callable[[Tensor], Tensor]) -> None:
        """Apply what the owner's `_apply` received from `.to()`, `.cuda()` or `.half()`."""
        if self.owned:
            self.module._apply(fn)

    def __deepcopy__(self, memo: dict[int, Any]) -> Unregistered[Kept]:
        return Unregistered(self.module, owned=False)
