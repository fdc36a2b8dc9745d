"""`CUBWithBoxes`: CUB-200-2011 with its bounding boxes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from mmpretrain.datasets import CUB
from mmpretrain.registry import DATASETS

from .class_balanced_subset import check_inside


@DATASETS.register_module()
class CUBWithBoxes(CUB):
    """Samples of MMPretrain's `CUB` with `gt_bboxes` (1, 4) float32, x1, y1, x2, y2 in pixels.

    The boxes come from `bounding_boxes.txt` in the data set's folder. In a pipeline, use `Resize`,
    `ResizeEdgeWithBoxes`, `CenterCrop` and `RandomFlip`: they move the boxes with the image.

    Args:
        allow_outside: whether images.txt may name images outside the data set's folder.
        **kwargs: CUB's.

    Raises:
        FileNotFoundError: bounding_boxes.txt is missing.
        ValueError: an image has no box, or lies outside the folder.
    """

    def __init__(self, *args: Any, allow_outside: bool = False, **kwargs: Any) -> None:
        self.allow_outside = allow_outside
        super().__init__(*args, **kwargs)

    def load_data_list(self) -> list[dict]:
        boxes = _read_boxes(Path(self.data_root) / "bounding_boxes.txt")
        paths = self._load_data_from_txt(self.ann_file)
        by_path = {
            self.backend.join_path(self.img_prefix, path): boxes.get(index)
            for index, path in paths.items()
        }
        data_list = super().load_data_list()
        if not self.allow_outside:
            check_inside(self, (info["img_path"] for info in data_list))
        for info in data_list:
            box = by_path[info["img_path"]]
            if box is None:
                raise ValueError(f"bounding_boxes.txt has no box for image {info['img_path']}")
            info["gt_bboxes"] = box[None].copy()
        return data_list


def _read_boxes(path: Path) -> dict[int, np.ndarray]:
    """The box of every image, by image number from 0.

    A line of the file holds the image number from 1, x, y, width and height.
    """
    if not path.is_file():
        raise FileNotFoundError(f"CUBWithBoxes.data_root: {str(path)!r}: no such file")
    boxes = {}
    for line in path.read_text().splitlines():
        if not line.strip():
            continue
        number, *numbers = line.split()
        corner, size = np.array(numbers, np.float32).reshape(2, 2)
        boxes[int(number) - 1] = np.concatenate([corner, corner + size])
    return boxes
