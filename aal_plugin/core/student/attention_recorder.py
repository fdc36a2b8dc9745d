"""`AttentionRecorder`: records a student's attention during its forward pass.

Nothing in the student changes: hooks store what its blocks compute anyway, and the maps are
computed from it afterwards. The folder `families` knows where each architecture computes its
attention; for a ViT of your own, `attention_layers` names the modules, see `by_name.py`.
"""

from __future__ import annotations

from torch import Tensor, nn

from .by_name import AttentionLayers, reader_by_name
from .families import find_reader
from .readers import Read
from .recorder import Recorder, Recorders, Source


class AttentionRecorder:
    """Records a student's attention during its forward pass.

    Create it before `torch.compile`, which ignores hooks that are added later. Between `start` and
    `stop` it stores references to tensors that the forward pass computes anyway; at all other times
    it does nothing. A deep copy of the student together with its recorder (an EMA copy) has a
    recorder of its own.

    Args:
        student: a module of a known family, or a module that contains one.
        layers: names of the attention modules, for a student of no known family; see
            `reader_by_name`.

    Attributes:
        heads: attention maps of each block, which is its number of heads in nearly all families.
        image_size: (H, W) that the student was built for, or None if it accepts any.

    Raises:
        ValueError: no known family; image and patch sizes that do not fit.

    Example:
        >>> import timm, torch
        >>> student = timm.create_model("test_vit").eval()  # 10×10 patches
        >>> recorder = AttentionRecorder(student)
        >>> recorder.heads
        [2, 2, 2, 2, 2, 2]
        >>> recorder.start((160, 160))
        >>> logits = student(torch.rand(1, 3, 160, 160))
        >>> [tuple(maps.shape) for maps in recorder.stop()][:2]
        [(1, 2, 10, 10), (1, 2, 10, 10)]
    """

    def __init__(self, student: nn.Module, layers: AttentionLayers | None = None) -> None:
        reader = find_reader(student) if layers is None else reader_by_name(student, layers)
        self.heads = [block.num_heads for block in reader.blocks]
        self.image_size = reader.image_size
        self._patch = reader.patch
        if self.image_size is not None:
            self._check(*self.image_size)
        # Blocks share the source of their grid: it is recorded once.
        grids: dict[Source, Recorder] = {}
        self._blocks: list[tuple[Read, list[Recorder], Recorder]] = []
        for number, block in enumerate(reader.blocks, start=1):
            # The first value is trained; others may be tables that need no gradient.
            first, *others = block.sources
            recorders = [Recorder(*first, block.attention, number)]
            recorders += [Recorder(*source) for source in others]
            if block.grid not in grids:
                grids[block.grid] = Recorder(*block.grid)
            self._blocks.append((block.read, recorders, grids[block.grid]))
        of_blocks = [one for _, several, _ in self._blocks for one in several]
        modules = [module for block in reader.blocks for module in block.modules]
        self._recorders = Recorders(student, [*of_blocks, *grids.values()], modules)

    def start(self, image_size: tuple[int, int]) -> None:
        """Start to record, before a forward pass on images of (H, W) pixels.

        Raises:
            ValueError: the student's patches do not divide this size; a module that AAL
                records was replaced since (LoRA).
        """
        self._check(*image_size)
        self._recorders.start()

    def discard(self) -> None:
        """Stop recording and forget what was recorded, after a forward pass that failed."""
        self._recorders.stop()

    def stop(self) -> list[Tensor]:
        """Stop recording and return the maps of every block, (B, M, h, w) each.

        Raises:
            ValueError: some blocks did not run since `start`.
        """
        values = self._recorders.stop()
        missing = [
            number
            for number, (_, recorders, grid) in enumerate(self._blocks, start=1)
            if any(values[recorder] is None for recorder in (*recorders, grid))
        ]
        if missing:
            raise ValueError(
                f"the student's blocks {missing} did not run between start and stop, so AAL has "
                "no attention of them"
            )
        return [
            read(*(values[recorder] for recorder in recorders), grid=values[grid])
            for read, recorders, grid in self._blocks
        ]

    def _check(self, height: int, width: int) -> None:
        if self._patch is None:
            return
        patch_h, patch_w = self._patch
        if height % patch_h or width % patch_w:
            near = [
                max(1, round(n / patch)) * patch for n, patch in zip((height, width), self._patch)
            ]
            raise ValueError(
                f"images of {height}×{width} pixels: the student's patch of {patch_h}×{patch_w} "
                "does not divide them, so attention maps and activation maps would not line up; "
                f"choose multiples, such as {near[0]}×{near[1]}"
            )
