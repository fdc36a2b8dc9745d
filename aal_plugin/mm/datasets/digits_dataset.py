"""`DigitsDataset`: scikit-learn's handwritten digits, real images that need no download."""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np
from mmpretrain.datasets import BaseDataset
from mmpretrain.registry import DATASETS

from aal_plugin import data

# Of each class, as in many studies of small sets.
_SPLITS = dict(train=(0, 0.6), val=(0.6, 0.8), test=(0.8, 1))


@DATASETS.register_module()
class DigitsDataset(BaseDataset):
    """1,797 digits of 8×8 pixels by 13 writers, enlarged to `size`.

    Each class is split in the order of the file: the first 60% are training images, the next 20%
    validation, the rest test images. The file goes by writer, so the three have other writers.

    A sample has img (size, size, 3) uint8, three equal channels; img_shape and ori_shape (height,
    width); and gt_label.

    Source: E. Alpaydin and C. Kaynak, Optical Recognition of Handwritten Digits, UCI Machine
    Learning Repository, 1998.

    Args:
        split: 'train' (1,078 images), 'val' (360) or 'test' (359).
        size: side of an image in pixels; bicubic.
        **kwargs: arguments of MMPretrain's `BaseDataset`.

    Raises:
        ValueError: an argument is out of range.
        ImportError: scikit-learn is not installed; names the command.
    """

    METAINFO = {"classes": tuple("0123456789")}

    def __init__(self, split: str, size: int = 32, **kwargs: Any) -> None:
        if split not in _SPLITS:
            raise ValueError(f"DigitsDataset.split={split!r}; choose 'train', 'val' or 'test'")
        data.check_whole("DigitsDataset.size", size, 8)
        self.split = split
        self.size = size
        super().__init__(ann_file="", **kwargs)

    def load_data_list(self) -> list[dict]:
        try:
            from sklearn.datasets import load_digits
        except ImportError:
            raise ImportError(
                "DigitsDataset needs scikit-learn, which has the images; pip install scikit-learn"
            ) from None
        digits = load_digits()  # images (1797, 8, 8) of 0 to 16
        chosen: list[int] = []
        for label in range(10):
            own = np.flatnonzero(digits.target == label)
            first, last = (round(share * len(own)) for share in _SPLITS[self.split])
            chosen += own[first:last].tolist()
        shape = (self.size, self.size)
        return [
            dict(
                img=_enlarged(digits.images[i], self.size),
                img_shape=shape,
                ori_shape=shape,
                gt_label=int(digits.target[i]),
            )
            for i in sorted(chosen)
        ]

    def extra_repr(self) -> list[str]:
        return [f"handwritten digits, {self.split}, {self.size} px"]


def _enlarged(digit: np.ndarray, size: int) -> np.ndarray:
    """(8, 8) of 0 to 16 as (size, size, 3) uint8."""
    grey = np.clip(digit * 255 / 16, 0, 255).astype(np.float32)
    large = cv2.resize(grey, (size, size), interpolation=cv2.INTER_CUBIC)
    return np.repeat(np.clip(large, 0, 255).round().astype(np.uint8)[..., None], 3, axis=2)
