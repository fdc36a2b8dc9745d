"""`CropToBox`: an image cut to its bounding box."""

from __future__ import annotations

import numpy as np
from mmcv.transforms import BaseTransform
from mmpretrain.registry import TRANSFORMS


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
