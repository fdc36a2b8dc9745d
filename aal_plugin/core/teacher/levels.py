"""A teacher's levels: which layers they are, and their maps in a forward pass.

# B batch, T tokens, C channels, h w grid of a layer, H W image size
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

from torch import Tensor, nn

from aal_plugin.core.layer_maps import as_map, has_channels_last, item_of, prefix_tokens
from aal_plugin.core.layer_names import default_layers, named_modules_of, nearest, split_item

_SPACED = 4  # levels of a transformer whose blocks all have one grid


class Levels:
    """Forward hooks on a network's layers; `run` returns what they return, as maps.

    How to read each layer is found with one forward pass of the whole network.

    Args:
        model: the owner of the layers, in eval mode.
        layers: dotted names, see `split_item`; None: of the `default_layers` the `chosen_levels`.
        images: (1, C, H, W), one image that the model accepts.
        name: the model's, for errors.
        num_prefix_tokens: tokens ahead of the patches; None: as the model states it
            (`num_prefix_tokens` of timm, `num_extra_tokens` of MMPretrain), or as few as leave a
            full grid.

    Attributes:
        layers, channels: names and channels of the levels.

    Raises:
        ValueError: the model has no such layer, or a layer did not run or returns no map.
    """

    def __init__(
        self,
        model: nn.Module,
        layers: Sequence[str] | None,
        images: Tensor,
        name: str,
        num_prefix_tokens: int | None = None,
    ) -> None:
        self._name = name
        self._recorded: list[tuple[int, Any]] = []
        self._stops = False
        self._record_at(model, list(layers) if layers is not None else default_layers(model))
        outputs, _ = self._recorded_in(lambda: model(images), stop=False)
        shape = tuple(images.shape)
        self._read_as = self._how_to_read(model, outputs, (shape[-2], shape[-1]), num_prefix_tokens)
        maps = self._maps(outputs, shape)
        if layers is None:
            tokens = any(fmt == "NHWC" or prefix is not None for fmt, prefix in self._read_as)
            chosen = chosen_levels(maps, tokens)
            maps, self._read_as = [maps[i] for i in chosen], [self._read_as[i] for i in chosen]
            for hook in self._hooks:
                hook.remove()
            self._record_at(model, [self.layers[i] for i in chosen])
        self.channels = [level.shape[1] for level in maps]

    def run(
        self, forward: Callable[[], Any], images: tuple[int, ...], stop: bool = False
    ) -> tuple[list[Tensor], Any]:
        """A map (B, C, h, w) for each level, and what `forward` returned, or None if it was ended.

        Args:
            images: the shape (B, C, H, W) of the images on which `forward` runs the model.
            stop: end the pass after the last level; an earlier pass has shown which one that is.
        """
        outputs, result = self._recorded_in(forward, stop)
        return self._maps(outputs, images), result

    def _record_at(self, model: nn.Module, layers: list[str]) -> None:
        self.layers = layers
        self._whose = [f"teacher.layers: {layer!r} of {self._name}" for layer in layers]
        self._items = [split_item(layer)[1] for layer in layers]
        self._order: list[int] = []  # of the levels in a forward pass, after the first one
        self._hooks = [
            module.register_forward_hook(partial(self._record, level))
            for level, module in enumerate(named_modules_of(model, layers, "teacher.layers"))
        ]

    def _record(self, level: int, module: nn.Module, inputs: Any, output: Any) -> None:
        self._recorded.append((level, output))
        if self._stops and level == self._order[-1]:
            raise _LastLevel

    def _recorded_in(self, forward: Callable[[], Any], stop: bool) -> tuple[list[Any], Any]:
        self._stops = stop and len(self._order) == len(self.layers)
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
        idle = [layer for level, layer in enumerate(self.layers) if level not in outputs]
        if idle:
            raise ValueError(
                f"teacher.layers: {idle} did not run in the forward pass of {self._name}; choose "
                "other layers, or for a timm model features_only=True"
            )
        found = zip(sorted(outputs), self._items, self._whose)
        return [item_of(outputs[level], item, whose) for level, item, whose in found], result

    def _maps(self, outputs: Sequence[Any], images: tuple[int, ...]) -> list[Tensor]:
        maps = []
        for output, (fmt, prefix), whose in zip(outputs, self._read_as, self._whose):
            level = as_map(output, fmt, (images[-2], images[-1]), whose, prefix)
            if level.shape[0] != images[0]:
                raise ValueError(
                    f"{whose} returns {level.shape[0]} maps for {images[0]} images; expected the "
                    "batch as the first axis. Choose a layer outside of windows, and a transformer "
                    "whose tokens are (B, T, C)"
                )
            maps.append(level)
        return maps

    def _how_to_read(
        self, model: nn.Module, outputs: Sequence[Any], size: tuple[int, int], given: int | None
    ) -> list[tuple[str, int | None]]:
        """'NCHW' or 'NHWC' and the prefix tokens of each layer, None for a layer of maps."""
        found = []
        for layer, output, whose in zip(self.layers, outputs, self._whose):
            stated = given
            for attribute in ("num_prefix_tokens", "num_extra_tokens"):
                stated = nearest(model, layer, attribute) if stated is None else stated
            prefix = prefix_tokens(output, size, stated if isinstance(stated, int) else None)
            if prefix is not None and given is not None:
                prefix = given
            if prefix is not None and nearest(model, layer, "reroll") is not None:
                raise ValueError(
                    f"{whose} returns tokens that are not in the order of their grid (Hiera); set "
                    "features_only=True for the maps that timm makes of them"
                )
            fmt = str(nearest(model, layer, "output_fmt") or "NCHW")  # timm's
            found.append(("NHWC" if has_channels_last(output, size) else fmt, prefix))
        return found


class _LastLevel(Exception):
    """Ends a forward pass whose remainder nobody needs."""


def chosen_levels(maps: Sequence[Tensor], transformer: bool) -> list[int]:
    """Which of a network's default layers become levels, as indices into their maps (B, C, h, w).

    All stages of a CNN. Of a transformer's blocks the last one of each grid and width, which are
    its stages. Where all layers have one grid and width (ViT, Mixer, ConvMixer), four evenly
    spaced ones: of 12 blocks the 3rd, 6th, 9th and 12th.

    Example:
        >>> import torch
        >>> chosen_levels([torch.zeros(1, 8, 4, 4)] * 12, transformer=True)
        [2, 5, 8, 11]
    """
    shapes = [tuple(level.shape) for level in maps]
    count = len(shapes)
    ends = [i for i in range(count) if i == count - 1 or shapes[i] != shapes[i + 1]]
    if len(ends) == 1 and count > _SPACED:
        return [math.ceil(part * count / _SPACED) - 1 for part in range(1, _SPACED + 1)]
    return ends if transformer and len(ends) > 1 else list(range(count))
