"""`Recorder`: stores one value of a module's call while recording."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from torch import nn

Select = Callable[[tuple[Any, ...], dict[str, Any], Any], Any]


class Recorder:
    """Forward hook that stores `select(args, kwargs, output)` of a call between `start` and `stop`.

    There is one object for each module, and no index into a common list: `torch.compile` would
    specialise on the index, and compile the blocks of a student one by one.

    Args:
        module: gets the hook at once.
        select: the value to store, from the arguments and the output of a call.
        attention: the attention module that AAL trains through the value; it is an error if the
            value has no gradient while this module trains.
        block: the number of its block, for the error.

    Raises:
        ValueError: during the forward pass, if the value lacks the gradient that it needs.

    Example:
        >>> import torch
        >>> layer = nn.Linear(2, 3)
        >>> recorder = Recorder(layer, lambda args, kwargs, output: output.shape)
        >>> recorder.start()
        >>> _ = layer(torch.rand(4, 2))
        >>> recorder.stop()
        torch.Size([4, 3])
    """

    def __init__(
        self,
        module: nn.Module,
        select: Select,
        attention: nn.Module | None = None,
        block: int = 0,
    ) -> None:
        self._select = select
        self._attention = attention
        self._block = block
        self._recording = False
        self._value: Any = None
        module.register_forward_hook(self, with_kwargs=True)

    def start(self) -> None:
        """Start to record, and forget the last value."""
        self._value = None
        self._recording = True

    def stop(self) -> Any:
        """Stop recording and return the last value, or None if the module did not run."""
        self._recording = False
        value, self._value = self._value, None
        return value

    def __call__(
        self, module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any], output: Any
    ) -> None:
        if not self._recording:
            return
        value = self._select(args, kwargs, output)
        attention = self._attention
        if (
            attention is not None
            and attention.training
            and not value.requires_grad
            and any(parameter.requires_grad for parameter in attention.parameters())
        ):
            raise ValueError(
                f"block {self._block} ran without gradients, so AAL could not reach the student: "
                "checkpoint its activations with use_reentrant=False, or do not checkpoint them. "
                "with_cp=True of a backbone has no such option: set with_cp=False there; "
                "MMPretrain's RevVisionTransformer needs no_custom_backward=True"
            )
        self._value = value
