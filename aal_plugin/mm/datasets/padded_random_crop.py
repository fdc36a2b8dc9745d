"""`PaddedRandomCrop`: RandomCrop whose padding follows `padding_mode`."""

from __future__ import annotations

from collections.abc import Sequence

import mmcv
from mmpretrain.datasets.transforms import RandomCrop
from mmpretrain.registry import TRANSFORMS


@TRANSFORMS.register_module()
class PaddedRandomCrop(RandomCrop):
    """Pads an image on all four sides, then crops it at a random place.

    MMPretrain's RandomCrop uses `padding_mode` only for `pad_if_needed`; its `padding` always
    adds zeros.

    Args:
        crop_size: side of the crop, or (h, w).
        border: pixels to add on each side, or (left, top, right, bottom).
        padding_mode: 'reflect' (the pixel at the edge is not repeated), 'symmetric', 'edge' or
            'constant'.
    """

    def __init__(
        self,
        crop_size: Sequence[int] | int,
        border: Sequence[int] | int,
        padding_mode: str = "reflect",
    ) -> None:
        super().__init__(crop_size, padding_mode=padding_mode)
        self.border = border

    def transform(self, results: dict) -> dict:
        results["img"] = mmcv.impad(
            results["img"], padding=self.border, padding_mode=self.padding_mode
        )
        return super().transform(results)
