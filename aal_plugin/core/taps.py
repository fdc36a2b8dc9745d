"""Keeps a student's attention during its forward pass.

Nothing in the student changes: what its blocks compute anyway is kept by hooks, and the maps are
made from it afterwards. Where each architecture exposes its attention is told in `families.py`,
and for a ViT of one's own by `taps=`, see `named_taps.py`.
"""

from __future__ import annotations

from typing import Dict, List, Optional, Tuple

from torch import Tensor, nn

from .families import FAMILIES, find_tapping
from .keeper import Keeper
from .named_taps import TapNames, named_tapping
from .tapping import Tap, Tapping, Watch

__all__ = ["FAMILIES", "AttentionTaps", "Tap", "Tapping", "Watch"]


class AttentionTaps:
    """Keeps a student's attention during its forward pass.

    Install before `torch.compile`, since hooks added later are ignored. Between `start` and
    `stop` the taps keep references to tensors that the forward pass makes anyway; at all other
    times they do nothing. A deep copy of the student together with its taps (an EMA copy) has
    taps of its own.

    Args:
        student: a module of a known family, or one that contains such a module.
        names: the attention modules of a student of no known family, see `named_tapping`.

    Attributes:
        heads: heads of each block.
        image_size: (H, W) that the student was built for, or None where it takes any.

    Raises:
        ValueError: no known family; image and patch or window sizes that do not fit.
    """

    def __init__(self, student: nn.Module, names: Optional[TapNames] = None) -> None:
        tapping = find_tapping(student) if names is None else named_tapping(student, names)
        self.heads = [tap.num_heads for tap in tapping.blocks]
        self.image_size = tapping.image_size
        self._check = tapping.check
        if self.image_size is not None:
            self._check(*self.image_size)
        # Blocks share what tells their grid: it is kept once.
        grids: Dict[Watch, Keeper] = {}
        self._readers = []
        for number, tap in enumerate(tapping.blocks, start=1):
            weights = Keeper(tap.weights.module, tap.weights.pick, tap.attention, number)
            if tap.grid not in grids:
                grids[tap.grid] = Keeper(tap.grid.module, tap.grid.pick)
            self._readers.append((tap.read, weights, grids[tap.grid]))
        self._keepers = [weights for _, weights, _ in self._readers] + list(grids.values())

    def start(self, image_size: Tuple[int, int]) -> None:
        """Begin to keep attention, for a forward pass on images of (H, W) pixels."""
        self._check(*image_size)
        for keeper in self._keepers:
            keeper.start()

    def discard(self) -> None:
        """End it, and forget what was kept: for a forward pass that an error has ended."""
        for keeper in self._keepers:
            keeper.stop()

    def stop(self) -> List[Tensor]:
        """End it, and answer with every block's maps, (B, M, h, w) each."""
        kept = {keeper: keeper.stop() for keeper in self._keepers}
        missed = [
            number
            for number, (_, weights, grid) in enumerate(self._readers, start=1)
            if kept[weights] is None or kept[grid] is None
        ]
        if missed:
            raise ValueError(f"no attention was seen from the student's blocks {missed}")
        return [read(kept[weights], kept[grid]) for read, weights, grid in self._readers]
