"""`CUBWithBoxes`: CUB-200-2011 with its bounding boxes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from mmpretrain.datasets import CUB
from mmpretrain.registry import DATASETS

from .data_layout import check_inside


@DATASETS.register_module()
class CUBWithBoxes(CUB):
    """Samples of MMPretrain's `CUB` with `gt_bboxes` (1, 4) float32, x1, y1, x2, y2 in pixels.

    They come from `bounding_boxes.txt` of the data set's folder. In a pipeline take `Resize`,
    `ResizeEdgeWithBoxes`, `CenterCrop` and `RandomFlip`, which move them with the image.

    Args:
        allow_outside: whether images.txt may name images outside of the data set's folder.
        **kwargs: CUB's.

    Raises:
        FileNotFoundError: no bounding_boxes.txt.
        ValueError: an image without a box in there, or outside of the folder.
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
                raise ValueError(f"bounding_boxes.txt has no box of image {info['img_path']}")
            info["gt_bboxes"] = box[None].copy()
        return data_list


def _read_boxes(path: Path) -> dict[int, np.ndarray]:
    """Box of every image number from 0; the file counts from 1 and gives x, y, width, height."""
    if not path.is_file():
        raise FileNotFoundError(f"CUBWithBoxes.data_root: {str(path)!r}: no such file")
    boxes = {}
    for line in path.read_text().splitlines():
        if not line.strip():
            continue
        number, x, y, width, height = line.split()
        corner = np.array([x, y], np.float32)
        boxes[int(number) - 1] = np.concatenate([corner, corner + np.float32([width, height])])
    return boxes
