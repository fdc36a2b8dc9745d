"""Keeps a student's features, a CNN's stages or a transformer's patch tokens, as maps.

# B batch, T tokens, C channels, h w grid of a stage
"""

from __future__ import annotations

from functools import partial
from typing import Any, Dict, List, Optional, Sequence, Tuple

import torch
from torch import Tensor, nn

from .families import known_tapping
from .teacher import default_taps, named_modules_of


class FeatureTaps:
    """Keeps a student's features during its forward pass, level by level.

    The levels of a CNN are its stages (`default_taps`), those of a known transformer family its
    blocks, with the patch tokens put on their grid. As with `AttentionTaps`: install before
    `torch.compile`; a deep copy has taps of its own.

    Args:
        student: a CNN with stages, a transformer of a known family, or what contains one.
        names: dotted names of the modules that are the levels instead; each puts out
            (B, C, h, w), or a tuple of which the last is that.

    Raises:
        ValueError: no stages, no known family, or names that the student lacks.
    """

    def __init__(self, student: nn.Module, names: Optional[Sequence[str]] = None) -> None:
        self._kept: Dict[Any, Any] = {}
        self._recording = False
        self._prefixes: List[Optional[int]] = []
        tapping = None if names is not None else known_tapping(student)
        if tapping is not None:
            for tap in tapping.blocks:
                self._watch(tap.block, tap.num_prefix_tokens)
                index = len(self._prefixes) - 1
                tap.grid.module.register_forward_hook(
                    partial(self._keep_grid, index, tap.grid.pick)
                )
            return
        names = list(names) if names is not None else default_taps(student)
        for module in named_modules_of(student, names, "transfer_head.student_taps"):
            self._watch(module, None)

    def start(self, image_size: Tuple[int, int]) -> None:
        """Begin to keep features; `image_size` is not used, and there for all taps alike."""
        self._kept = {}
        self._recording = True

    def stop(self) -> List[Tensor]:
        """End it, and answer with every level's features, (B, C, h, w) each."""
        self._recording = False
        kept, self._kept = self._kept, {}
        missed = [level for level in range(len(self._prefixes)) if level not in kept]
        if missed:
            raise ValueError(f"no features were seen from the student's levels {missed}")
        return [
            kept[level] if prefix is None else _on_grid(kept[level], kept["grid", level], prefix)
            for level, prefix in enumerate(self._prefixes)
        ]

    @torch.no_grad()
    def channels(self, student: nn.Module, image_size: Tuple[int, int]) -> List[int]:
        """Channels of every level, from a forward pass in eval mode."""
        modes = {module: module.training for module in student.modules()}
        student.eval()
        self.start(image_size)
        student(next(student.parameters()).new_zeros(1, 3, *image_size))
        for module, mode in modes.items():
            module.training = mode
        return [level.shape[1] for level in self.stop()]

    def _watch(self, module: nn.Module, prefix: Optional[int]) -> None:
        module.register_forward_hook(partial(self._keep, len(self._prefixes)))
        self._prefixes.append(prefix)

    def _keep(self, level: int, module: nn.Module, inputs: tuple, output: Any) -> None:
        if self._recording:
            self._kept[level] = output[-1] if isinstance(output, (tuple, list)) else output

    def _keep_grid(
        self, level: int, pick: Any, module: nn.Module, inputs: tuple, output: Any
    ) -> None:
        if self._recording:
            self._kept["grid", level] = pick(inputs, output)


def _on_grid(tokens: Tensor, grid: Tuple[int, int], num_prefix_tokens: int) -> Tensor:
    """(B, T, C) or (B, h, w, C) → (B, C, h, w), without prefix tokens."""
    if tokens.dim() == 4:
        return tokens.permute(0, 3, 1, 2)
    return tokens[:, num_prefix_tokens:].mT.unflatten(-1, grid)
