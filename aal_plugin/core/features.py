"""Keeps a student's features, a CNN's stages or a transformer's patch tokens, as maps.

# B batch, T tokens, C channels, h w grid of a stage
"""

from __future__ import annotations

from typing import List, Optional, Sequence, Tuple

import torch
from torch import Tensor, nn

from .families import known_tapping
from .keeper import Keeper
from .stages import as_map, default_taps, named_modules_of, output_formats
from .tapping import put_out


class FeatureTaps:
    """Keeps a student's features during its forward pass, level by level.

    The levels of a CNN are its stages (`default_taps`), those of a known transformer family its
    blocks, with the patch tokens put on their grid. As with `AttentionTaps`: install before
    `torch.compile`; a deep copy has taps of its own.

    Args:
        student: a CNN with stages, a transformer of a known family, or what contains one.
        names: dotted names of the modules that are the levels instead; each puts out
            (B, C, h, w), or (B, h, w, C) where timm's `output_fmt` says so, or a tuple or list of
            maps, see `as_map`.

    Raises:
        ValueError: no stages, no known family, or names that the student lacks.
    """

    def __init__(self, student: nn.Module, names: Optional[Sequence[str]] = None) -> None:
        tapping = None if names is not None else known_tapping(student)
        self._levels: List[Tuple[Keeper, Optional[Keeper], int]] = []
        self._names: List[str] = []
        self._formats: List[str] = []
        self._image_size = (1, 1)
        if tapping is not None:
            for tap in tapping.blocks:
                tokens, grid = Keeper(tap.block, put_out), Keeper(tap.grid.module, tap.grid.pick)
                self._levels.append((tokens, grid, tap.num_prefix_tokens))
            return
        key = "model.student_taps"
        names = list(names) if names is not None else default_taps(student, "student", key)
        for module in named_modules_of(student, names, key):
            self._levels.append((Keeper(module, put_out), None, 0))
        whose = f"of {type(student).__name__}"
        self._names = [f"{key}: {name!r} {whose}" for name in names]
        self._formats = output_formats(student, names)

    def start(self, image_size: Tuple[int, int]) -> None:
        """Begin to keep features, for a forward pass on images of (H, W) pixels."""
        self._image_size = tuple(image_size)
        for keeper in self._keepers():
            keeper.start()

    def discard(self) -> None:
        """End it, and forget what was kept: for a forward pass that an error has ended."""
        for keeper in self._keepers():
            keeper.stop()

    def stop(self) -> List[Tensor]:
        """End it, and answer with every level's features, (B, C, h, w) each."""
        kept = {keeper: keeper.stop() for keeper in self._keepers()}
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
    def channels(self, student: nn.Module, image_size: Tuple[int, int]) -> List[int]:
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

    def _keepers(self) -> List[Keeper]:
        return [keeper for level in self._levels for keeper in level[:2] if keeper is not None]


def _on_grid(tokens: Tensor, grid: Tuple[int, int], num_prefix_tokens: int) -> Tensor:
    """(B, T, C) or (B, h, w, C) → (B, C, h, w), without prefix tokens."""
    if tokens.dim() == 4:
        return tokens.permute(0, 3, 1, 2)
    return tokens[:, num_prefix_tokens:].mT.unflatten(-1, grid)
