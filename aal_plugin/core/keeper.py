"""Keeps something of a module's call, while it is asked to."""

from __future__ import annotations

from typing import Any, Callable, Optional

from torch import nn


class Keeper:
    """A forward hook that keeps `pick(inputs, output)` of a call between `start` and `stop`.

    An object for each module, and no index into what all of them keep: `torch.compile` would
    specialise on the index, and compile the blocks of a student one by one.

    Args:
        module: hooked from now on.
        pick: what of a call is kept.
        attention: the module whose training is in vain if what is kept has no gradient.
        block: its number, for the error.
    """

    def __init__(
        self,
        module: nn.Module,
        pick: Callable[[tuple, Any], Any],
        attention: Optional[nn.Module] = None,
        block: int = 0,
    ) -> None:
        self._pick = pick
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
        if attention is not None and attention.training and not kept.requires_grad:
            if any(parameter.requires_grad for parameter in attention.parameters()):
                raise ValueError(
                    f"block {self._block} ran without gradients, so AAL could not reach the "
                    "student: checkpoint its activations with use_reentrant=False, or not at "
                    "all; a backbone's with_cp=True has no such choice, so set with_cp=False there"
                )
        self._kept = kept
