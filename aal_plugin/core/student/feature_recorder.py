"""`FeatureRecorder`: records a student's features as maps: CNN stages, or patch tokens.

# B batch, T tokens, C channels, h w grid of a stage
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from aal_plugin.core.images import image_channels_of
from aal_plugin.core.layer_maps import as_map, item_of
from aal_plugin.core.layer_names import default_layers, named_modules_of, nearest, split_item

from .families import known_reader
from .recorder import Places, Recorder, output_of


class FeatureRecorder:
    """Records a student's features during its forward pass, level by level.

    The levels of a CNN are its stages (`default_layers`), those of a known transformer family are
    its blocks, with the patch tokens on their grid. As with `AttentionRecorder`: create it before
    `torch.compile`; a deep copy has a recorder of its own.

    Args:
        student: a CNN with stages, a transformer of a known family, or a module that contains one.
        layers: dotted names of the modules to record instead, one a level; each returns
            (B, C, h, w), or (B, h, w, C) if timm's `output_fmt` says so, or a tuple or list of
            maps, see `as_map`; `name[item]` is one entry of a list, tuple or dict.
        key: the config's name of `layers`, for errors.

    Raises:
        ValueError: no stages and no known family, or names that the student lacks.

    Example:
        >>> import timm, torch
        >>> student = timm.create_model("test_vit").eval()
        >>> recorder = FeatureRecorder(student)
        >>> recorder.start((160, 160))
        >>> logits = student(torch.rand(1, 3, 160, 160))
        >>> [tuple(level.shape) for level in recorder.stop()][:2]
        [(1, 64, 10, 10), (1, 64, 10, 10)]
    """

    def __init__(
        self, student: nn.Module, layers: Sequence[str] | None = None, key: str = "layers"
    ) -> None:
        reader = None if layers is not None else known_reader(student)
        self._levels: list[tuple[Recorder, Recorder | None, int]] = []
        self._names: list[str] = []
        self._items: list[str | None] = []
        self._formats: list[str] = []
        self._image_size = (1, 1)
        recorded: list[nn.Module] = []
        # The tokens of a block whose order is not that of its grid cannot become a map.
        if reader is not None and all(block.block is not None for block in reader.blocks):
            for block in reader.blocks:
                if block.block is not None:
                    tokens, grid = Recorder(block.block, output_of), Recorder(*block.grid)
                    self._levels.append((tokens, grid, block.num_prefix_tokens))
                    recorded += [block.block, block.grid.module]
            self._places = Places(student, recorded)
            return
        layers = layers if layers is not None else default_layers(student, "student", key)
        recorded += named_modules_of(student, layers, key)
        self._levels += [(Recorder(module, output_of), None, 0) for module in recorded]
        self._places = Places(student, recorded)
        whose = f"of {type(student).__name__}"
        self._names = [f"{key}: {layer!r} {whose}" for layer in layers]
        self._items = [split_item(layer)[1] for layer in layers]
        self._formats = [str(nearest(student, n, "output_fmt") or "NCHW") for n in layers]

    def start(self, image_size: tuple[int, int]) -> None:
        """Start to record, before a forward pass on images of (H, W) pixels.

        Raises:
            ValueError: a module that AAL records was replaced since.
        """
        self._places.check()
        height, width = image_size
        self._image_size = (height, width)
        for recorder in self._recorders():
            recorder.start()

    def discard(self) -> None:
        """Stop recording and forget what was recorded, after a forward pass that failed."""
        for recorder in self._recorders():
            recorder.stop()

    def stop(self) -> list[Tensor]:
        """Stop recording and return the features of every level, (B, C, h, w) each.

        Raises:
            ValueError: some levels did not run since `start`.
        """
        values = {recorder: recorder.stop() for recorder in self._recorders()}
        missing = [
            number
            for number, (features, _, _) in enumerate(self._levels, start=1)
            if values[features] is None
        ]
        if missing:
            raise ValueError(f"the student's levels {missing} did not run between start and stop")
        if self._names:
            return [
                as_map(item_of(values[features], item, name), fmt, self._image_size, name)
                for (features, _, _), item, fmt, name in zip(
                    self._levels, self._items, self._formats, self._names
                )
            ]
        return [
            _on_grid(values[tokens], values[grid], num_prefix_tokens)
            for tokens, grid, num_prefix_tokens in self._levels
            if grid is not None
        ]

    @torch.no_grad()
    def channels(self, student: nn.Module, image_size: tuple[int, int]) -> list[int]:
        """Channels of every level, from a forward pass in eval mode on an image of (H, W) pixels.

        Example:
            >>> import timm
            >>> student = timm.create_model("test_resnet")
            >>> FeatureRecorder(student).channels(student, (64, 64))
            [32, 48, 192, 96]
        """
        modes = {module: module.training for module in student.modules()}
        student.eval()
        self.start(image_size)
        try:
            weights, colours = next(student.parameters()), image_channels_of(student)
            student(weights.new_zeros(1, colours, *image_size))
        except BaseException:
            self.discard()
            raise
        finally:
            for module, mode in modes.items():
                module.training = mode
        return [level.shape[1] for level in self.stop()]

    def _recorders(self) -> list[Recorder]:
        return [
            recorder for level in self._levels for recorder in level[:2] if recorder is not None
        ]


def _on_grid(tokens: Any, grid: tuple[int, int], num_prefix_tokens: int) -> Tensor:
    """(B, T, C) or (B, h, w, C) → (B, C, h, w), without prefix tokens."""
    tokens = tokens[0] if isinstance(tokens, tuple) else tokens  # Hugging Face's, before v5
    maps: Tensor
    if tokens.dim() == 4:
        maps = tokens.permute(0, 3, 1, 2)
    else:
        maps = tokens[:, num_prefix_tokens:].mT.unflatten(-1, grid)
    return maps
