"""Keeps a student's attention during its forward pass.

Nothing in the student changes: what its blocks compute anyway is kept by hooks, and the maps are
made from it afterwards. Where each architecture exposes its attention is told in `families.py`,
and for a ViT of your own by `attention_layers`, see `by_name.py`.
"""

from __future__ import annotations

from torch import Tensor, nn

from .by_name import AttentionLayers, reader_by_name
from .families import FAMILIES, find_reader
from .readers import BlockReader, Source, StudentReader
from .recorder import Recorder

__all__ = ["FAMILIES", "AttentionRecorder", "BlockReader", "Source", "StudentReader"]


class AttentionRecorder:
    """Keeps a student's attention during its forward pass.

    Install before `torch.compile`, since hooks added later are ignored. Between `start` and
    `stop` the recorder keeps references to tensors that the forward pass makes anyway; at all other
    times it does nothing. A deep copy of the student together with its recorder (an EMA copy) has
    a recorder of its own.

    Args:
        student: a module of a known family, or one that contains such a module.
        names: the attention modules of a student of no known family, see `reader_by_name`.

    Attributes:
        heads: heads of each block.
        image_size: (H, W) that the student was built for, or None where it takes any.

    Raises:
        ValueError: no known family; image and patch or window sizes that do not fit.
    """

    def __init__(self, student: nn.Module, names: AttentionLayers | None = None) -> None:
        reader = find_reader(student) if names is None else reader_by_name(student, names)
        self.heads = [block.num_heads for block in reader.blocks]
        self.image_size = reader.image_size
        self._check = reader.check
        if self.image_size is not None:
            self._check(*self.image_size)
        # Blocks share what tells their grid: it is kept once.
        grids: dict[Source, Recorder] = {}
        self._readers = []
        for number, block in enumerate(reader.blocks, start=1):
            weights = Recorder(block.weights.module, block.weights.select, block.attention, number)
            if block.grid not in grids:
                grids[block.grid] = Recorder(block.grid.module, block.grid.select)
            self._readers.append((block.read, weights, grids[block.grid]))
        self._recorders = [weights for _, weights, _ in self._readers] + list(grids.values())

    def start(self, image_size: tuple[int, int]) -> None:
        """Begin to keep attention, for a forward pass on images of (H, W) pixels."""
        self._check(*image_size)
        for recorder in self._recorders:
            recorder.start()

    def discard(self) -> None:
        """End it, and forget what was kept: for a forward pass that an error has ended."""
        for recorder in self._recorders:
            recorder.stop()

    def stop(self) -> list[Tensor]:
        """End it, and answer with every block's maps, (B, M, h, w) each."""
        kept = {recorder: recorder.stop() for recorder in self._recorders}
        missed = [
            number
            for number, (_, weights, grid) in enumerate(self._readers, start=1)
            if kept[weights] is None or kept[grid] is None
        ]
        if missed:
            raise ValueError(f"no attention was seen from the student's blocks {missed}")
        return [read(kept[weights], kept[grid]) for read, weights, grid in self._readers]
