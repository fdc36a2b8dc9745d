"""Keeps a student's features, a CNN's stages or a transformer's patch tokens, as maps.

# B batch, T tokens, C channels, h w grid of a stage
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from aal_plugin.core.teacher.stages import as_map, default_layers, named_modules_of, output_formats

from .families import known_reader
from .readers import whole_output
from .recorder import Recorder


class FeatureRecorder:
    """Keeps a student's features during its forward pass, level by level.

    The levels of a CNN are its stages (`default_layers`), those of a known transformer family its
    blocks, with the patch tokens put on their grid. As with `AttentionRecorder`: install before
    `torch.compile`; a deep copy has a recorder of its own.

    Args:
        student: a CNN with stages, a transformer of a known family, or what contains one.
        names: dotted names of the modules that are the levels instead; each puts out
            (B, C, h, w), or (B, h, w, C) where timm's `output_fmt` says so, or a tuple or list of
            maps, see `as_map`.

    Raises:
        ValueError: no stages, no known family, or names that the student lacks.
    """

    def __init__(self, student: nn.Module, names: Sequence[str] | None = None) -> None:
        reader = None if names is not None else known_reader(student)
        self._levels: list[tuple[Recorder, Recorder | None, int]] = []
        self._names: list[str] = []
        self._formats: list[str] = []
        self._image_size = (1, 1)
        if reader is not None:
            for block in reader.blocks:
                tokens, grid = (
                    Recorder(block.block, whole_output),
                    Recorder(block.grid.module, block.grid.select),
                )
                self._levels.append((tokens, grid, block.num_prefix_tokens))
            return
        key = "model.student_layers"
        names = list(names) if names is not None else default_layers(student, "student", key)
        for module in named_modules_of(student, names, key):
            self._levels.append((Recorder(module, whole_output), None, 0))
        whose = f"of {type(student).__name__}"
        self._names = [f"{key}: {name!r} {whose}" for name in names]
        self._formats = output_formats(student, names)

    def start(self, image_size: tuple[int, int]) -> None:
        """Begin to keep features, for a forward pass on images of (H, W) pixels."""
        self._image_size = tuple(image_size)
        for recorder in self._recorders():
            recorder.start()

    def discard(self) -> None:
        """End it, and forget what was kept: for a forward pass that an error has ended."""
        for recorder in self._recorders():
            recorder.stop()

    def stop(self) -> list[Tensor]:
        """End it, and answer with every level's features, (B, C, h, w) each."""
        kept = {recorder: recorder.stop() for recorder in self._recorders()}
        missed = [
            number
            for number, (features, _, _) in enumerate(self._levels, start=1)
            if kept[features] is None
        ]
        if missed:
            raise ValueError(f"no features were seen from the student's levels {missed}")
        if self._names:
            return [
                as_map(kept[features], fmt, self._image_size, name)
                for (features, _, _), fmt, name in zip(self._levels, self._formats, self._names)
            ]
        return [_on_grid(kept[tokens], kept[grid], prefix) for tokens, grid, prefix in self._levels]

    @torch.no_grad()
    def channels(self, student: nn.Module, image_size: tuple[int, int]) -> list[int]:
        """Channels of every level, from a forward pass in eval mode."""
        modes = {module: module.training for module in student.modules()}
        student.eval()
        self.start(image_size)
        try:
            student(next(student.parameters()).new_zeros(1, 3, *image_size))
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


def _on_grid(tokens: Tensor, grid: tuple[int, int], num_prefix_tokens: int) -> Tensor:
    """(B, T, C) or (B, h, w, C) → (B, C, h, w), without prefix tokens."""
    if tokens.dim() == 4:
        return tokens.permute(0, 3, 1, 2)
    return tokens[:, num_prefix_tokens:].mT.unflatten(-1, grid)
