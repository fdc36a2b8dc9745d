"""`CUBWithBoxes`, CUB-200-2011 with its bounding boxes, and `CropToBox`, a cut to the box."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from mmcv.transforms import BaseTransform
from mmpretrain.datasets import CUB
from mmpretrain.registry import DATASETS, TRANSFORMS

from .class_balanced_subset import check_inside


@DATASETS.register_module()
class CUBWithBoxes(CUB):
    """Samples of MMPretrain's `CUB` with `gt_bboxes` (1, 4) float32, x1, y1, x2, y2 in pixels.

    The boxes come from `bounding_boxes.txt` in the data set's folder. In a pipeline, use `Resize`,
    `CenterCrop` and `RandomFlip`: they move the boxes with the image. `ResizeEdge` does not;
    `Resize(scale=(10000, 256), keep_ratio=True)` is its equal that does.

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
        numbers = {
            self.backend.join_path(self.img_prefix, path): number
            for number, path in self._load_data_from_txt(self.ann_file).items()
        }
        data_list = super().load_data_list()
        if not self.allow_outside:
            check_inside(self, (info["img_path"] for info in data_list))
        for info in data_list:
            number = numbers[info["img_path"]]
            if number not in boxes:
                raise ValueError(f"bounding_boxes.txt has no box for image {info['img_path']}")
            info["gt_bboxes"] = boxes[number]
        return data_list


def _read_boxes(path: Path) -> dict[int, np.ndarray]:
    """The box of every image, (1, 4), by image number from 0.

    A line of the file holds the image number from 1, x, y, width and height.
    """
    if not path.is_file():
        raise FileNotFoundError(f"CUBWithBoxes.data_root: {str(path)!r}: no such file")
    lines = np.loadtxt(path, np.float64, ndmin=2)
    boxes = np.concatenate([lines[:, 1:3], lines[:, 1:3] + lines[:, 3:]], axis=1)
    boxes = boxes.astype(np.float32)[:, None]
    return {int(number) - 1: box for number, box in zip(lines[:, 0], boxes)}


@TRANSFORMS.register_module()
class CropToBox(BaseTransform):
    """Crops an image to its first box, `gt_bboxes[0]`, rounded outwards to whole pixels.

    A box that reaches beyond the image is clipped to it. The transform removes `gt_bboxes`, because
    the box is now the whole image.

    Raises:
        ValueError: the sample has no box, or its box contains no pixel of the image.
    """

    def transform(self, results: dict) -> dict:
        name = results.get("img_path", "an image")
        boxes = results.pop("gt_bboxes", None)
        if boxes is None or len(boxes) == 0:
            raise ValueError(
                f"CropToBox: {name} has no gt_bboxes; use a dataset with boxes, such as "
                "'CUBWithBoxes'"
            )
        height, width = results["img"].shape[:2]
        x1, y1 = np.maximum(np.floor(boxes[0][:2]).astype(int), 0)
        x2, y2 = np.minimum(np.ceil(boxes[0][2:]).astype(int), (width, height))
        if x1 >= x2 or y1 >= y2:
            raise ValueError(
                f"CropToBox: the box {np.asarray(boxes[0]).tolist()} (x1, y1, x2, y2) contains no "
                f"pixel of {name}, which has {width} x {height} pixels; correct the box"
            )
        results["img"] = np.ascontiguousarray(results["img"][y1:y2, x1:x2])
        results["img_shape"] = results["img"].shape[:2]
        return results
