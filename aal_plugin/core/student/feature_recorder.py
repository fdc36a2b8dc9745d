"""`FeatureRecorder`: records a student's features as maps: CNN stages, or patch tokens.

# B batch, T tokens, C channels, h w grid of a stage
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any, cast

from torch import Tensor, nn

from aal_plugin.core.images import image_channels_of, trial
from aal_plugin.core.layer_maps import as_map, item_of
from aal_plugin.core.layer_names import default_layers, named_modules_of, nearest, split_item

from .families import known_reader
from .readers import BlockReader, StudentReader
from .recorder import Grid, MapRecorder, Source, output_of


class FeatureRecorder(MapRecorder):
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

    _parts = "levels"

    def __init__(
        self, student: nn.Module, layers: Sequence[str] | None = None, key: str = "layers"
    ) -> None:
        reader = None if layers is not None else known_reader(student)
        # The tokens of a block whose order is not that of its grid cannot become a map.
        if reader is not None and all(block.block is not None for block in reader.blocks):
            readers = [
                BlockReader(
                    (Source(cast(nn.Module, block.block), output_of),),
                    block.grid,
                    partial(_on_grid, num_prefix_tokens=block.num_prefix_tokens),
                )
                for block in reader.blocks
            ]
        else:
            layers = default_layers(student, "student", key) if layers is None else layers
            modules = named_modules_of(student, layers, key)
            readers = []
            for module, layer in zip(modules, layers):
                name = f"{key}: {layer!r} of {type(student).__name__}"
                fmt = str(nearest(student, layer, "output_fmt") or "NCHW")
                read = partial(_as_map, item=split_item(layer)[1], fmt=fmt, name=name)
                readers.append(BlockReader((Source(module, output_of),), None, read))
        super().__init__(student, StudentReader(readers))

    def channels(self, student: nn.Module, image_size: Grid) -> list[int]:
        """Channels of every level, from a pass in eval mode on an image of (H, W) pixels."""
        weights, colours = next(student.parameters()), image_channels_of(student)
        self.start(image_size)
        try:
            with trial(student):
                student(weights.new_zeros(1, colours, *image_size))
        except BaseException:
            self.discard()
            raise
        return [level.shape[1] for level in self.stop()]


def _on_grid(tokens: Any, grid: Grid, num_prefix_tokens: int) -> Tensor:
    """(B, T, C) or (B, h, w, C) → (B, C, h, w), without prefix tokens."""
    tokens = tokens[0] if isinstance(tokens, tuple) else tokens  # Hugging Face's, before v5
    maps: Tensor
    if tokens.dim() == 4:
        maps = tokens.permute(0, 3, 1, 2)
    else:
        maps = tokens[:, num_prefix_tokens:].mT.unflatten(-1, grid)
    return maps


def _as_map(output: Any, grid: Grid, item: str | None, fmt: str, name: str) -> Tensor:
    return as_map(item_of(output, item, name), fmt, grid, name)
