"""Keeps something of a module's call, while it is asked to."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from torch import nn


class Recorder:
    """A forward hook that keeps `select(inputs, output)` of a call between `start` and `stop`.

    An object for each module, and no index into what all of them keep: `torch.compile` would
    specialise on the index, and compile the blocks of a student one by one.

    Args:
        module: hooked from now on.
        select: what of a call is kept.
        attention: the module whose training is in vain if what is kept has no gradient.
        block: its number, for the error.
    """

    def __init__(
        self,
        module: nn.Module,
        select: Callable[[tuple, Any], Any],
        attention: nn.Module | None = None,
        block: int = 0,
    ) -> None:
        self._pick = select
        self._attention = attention
        self._block = block
        self._recording = False
        self._kept: Any = None
        module.register_forward_hook(self)

    def start(self) -> None:
        """Begin to keep."""
        self._kept = None
        self._recording = True

    def stop(self) -> Any:
        """End it, and answer with what was kept last, or None."""
        self._recording = False
        kept, self._kept = self._kept, None
        return kept

    def __call__(self, module: nn.Module, inputs: tuple, output: Any) -> None:
        if not self._recording:
            return
        kept = self._pick(inputs, output)
        attention = self._attention
        wants_gradient = attention is not None and attention.training and not kept.requires_grad
        if wants_gradient and any(p.requires_grad for p in attention.parameters()):
            raise ValueError(
                f"block {self._block} ran without gradients, so AAL could not reach the "
                "student: checkpoint its activations with use_reentrant=False, or not at "
                "all; a backbone's with_cp=True has no such choice, so set with_cp=False there"
            )
        self._kept = kept
