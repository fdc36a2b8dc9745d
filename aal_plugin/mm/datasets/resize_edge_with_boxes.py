"""`ResizeEdgeWithBoxes`: ResizeEdge that also scales the boxes."""

from __future__ import annotations

import numpy as np
from mmpretrain.datasets.transforms import ResizeEdge
from mmpretrain.registry import TRANSFORMS


@TRANSFORMS.register_module()
class ResizeEdgeWithBoxes(ResizeEdge):
    """Resizes an image by one of its edges, and `gt_bboxes` with it.

    MMPretrain's ResizeEdge does not change the boxes. The arguments are ResizeEdge's.
    """

    def transform(self, results: dict) -> dict:
        results = super().transform(results)
        if "gt_bboxes" in results:
            scale = np.tile(np.asarray(results["scale_factor"], np.float32), 2)
            results["gt_bboxes"] = results["gt_bboxes"] * scale
        return results
