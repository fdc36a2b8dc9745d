"""Records the outputs of a network's layers, and ends its forward pass after the last one."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

from torch import nn

from .layer_names import named_modules_of, split_item
from .layer_output import item_of


class LevelRecorder:
    """Forward hooks that record what each layer returns.

    Args:
        model: the owner of the layers.
        layers: dotted names, with an item or without, see `split_item`.
        name: the model's name in error messages.

    Raises:
        ValueError: the model has no module of such a name.

    Example:
        >>> import torch
        >>> model = nn.Sequential(nn.Conv2d(3, 8, 2, 2), nn.Conv2d(8, 4, 2, 2))
        >>> recorder = LevelRecorder(model, ["0", "1"])
        >>> outputs, _ = recorder.run(lambda: model(torch.zeros(1, 3, 8, 8)))
        >>> [tuple(output.shape) for output in outputs]
        [(1, 8, 4, 4), (1, 4, 2, 2)]
    """

    def __init__(self, model: nn.Module, layers: Sequence[str], name: str = "the model") -> None:
        self.whose = [f"teacher.layers: {layer!r} of {name}" for layer in layers]
        self._layers, self._name = list(layers), name
        self._items = [split_item(layer)[1] for layer in layers]
        self._recorded: list[tuple[int, Any]] = []
        self._order: list[int] = []  # of the levels in a forward pass, after the first one
        self._stops = False
        self._hooks = [
            module.register_forward_hook(partial(self._record, level))
            for level, module in enumerate(named_modules_of(model, layers, "teacher.layers"))
        ]

    def run(self, forward: Callable[[], Any], stop: bool = False) -> tuple[list[Any], Any]:
        """Run a forward pass and return what the layers returned in it.

        Args:
            forward: runs the model.
            stop: end the pass after the last level, as soon as an earlier pass has shown which
                level that is.

        Returns:
            One output per layer, and what `forward` returned or None if it was ended.

        Raises:
            ValueError: a layer did not run.
        """
        self._stops = stop and len(self._order) == len(self._layers)
        result = None
        try:
            result = forward()
        except _LastLevel:
            pass
        finally:
            self._stops = False
            recorded, self._recorded = self._recorded, []
        self._order = self._order or [level for level, _ in recorded]
        outputs = dict(recorded)
        idle = [layer for level, layer in enumerate(self._layers) if level not in outputs]
        if idle:
            raise ValueError(
                f"teacher.layers: {idle} did not run in the forward pass of {self._name}; choose "
                "other layers, or for a timm model features_only=True"
            )
        return [
            item_of(outputs[level], item, self.whose[level])
            for level, item in enumerate(self._items)
        ], result

    def remove(self) -> None:
        """Remove the hooks."""
        for hook in self._hooks:
            hook.remove()

    def _record(self, level: int, module: nn.Module, inputs: Any, output: Any) -> None:
        self._recorded.append((level, output))
        if self._stops and level == self._order[-1]:
            raise _LastLevel


class _LastLevel(Exception):
    """Ends a forward pass whose remainder nobody needs."""
