"""`ShapesDataset`: the embedded shapes set, with labels and boxes, for MMPretrain's pipelines."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from mmpretrain.datasets import BaseDataset
from mmpretrain.registry import DATASETS

from aal_plugin import data

_COLOURS = ("black", "blue", "green", "cyan", "red", "magenta", "yellow", "white")
_LABELS = ("shape", "background")


@DATASETS.register_module()
class ShapesDataset(BaseDataset):
    """The embedded shapes images. Samples hold the pixels, so no `LoadImageFromFile` is needed.

    A sample has img (size, size, 3) uint8 in BGR, as mmcv loads images: set `to_rgb=True` in the
    data preprocessor. It also has img_shape and ori_shape (height, width), gt_label, and gt_bboxes
    (1, 4) float32 as x1, y1, x2, y2 in pixels. MMPretrain's crops do not change gt_bboxes.

    Args:
        split: 'train', 'val' or 'test'; they have no image in common.
        num_images: number of images, the first ones of an endless sequence.
        size: side of an image in pixels.
        seed: another seed draws other images.
        cache_dir: folder of the drawn images; see `aal_plugin.data.load_shapes`.
        shapes: names of some of the ten shapes; the others are left out.
        label: 'shape', or 'background': eight classes, by whether red, green and blue of the outer
            pixels are bright, which tell nothing about the shape.
        **kwargs: arguments of MMPretrain's `BaseDataset`.

    Raises:
        ValueError: an argument is out of range.
    """

    METAINFO = {"classes": data.CLASSES}

    def __init__(
        self,
        split: str,
        num_images: int,
        size: int = 64,
        seed: int = 0,
        cache_dir: str | None = None,
        shapes: Sequence[str] | None = None,
        label: str = "shape",
        serialize_data: bool = False,  # pickling would copy every image
        **kwargs: Any,
    ) -> None:
        if split not in data.SPLITS:
            raise ValueError(f"ShapesDataset.split={split!r}; choose 'train', 'val' or 'test'")
        data.check_whole("ShapesDataset.num_images", num_images, 1)
        data.check_whole("ShapesDataset.size", size, data.MIN_SIZE)
        data.check_whole("ShapesDataset.seed", seed, 0)
        self.split = split
        self.num_images = num_images
        self.size = size
        self.seed = seed
        self.cache_dir = cache_dir
        self.shapes = data.CLASSES if shapes is None else tuple(shapes)
        if not self.shapes or len(set(self.shapes) & set(data.CLASSES)) < len(self.shapes):
            raise ValueError(
                f"ShapesDataset.shapes={shapes}; choose from {list(data.CLASSES)}, each once"
            )
        if label not in _LABELS:
            raise ValueError(f"ShapesDataset.label={label!r}; choose 'shape' or 'background'")
        self.label = label
        names = self.shapes if label == "shape" else _COLOURS
        kwargs = {"metainfo": {"classes": names}, **kwargs}
        super().__init__(ann_file="", serialize_data=serialize_data, **kwargs)

    def load_data_list(self) -> list[dict]:
        drawn = data.load_shapes(
            self._num_drawn(), self.size, data.split_seed(self.split, self.seed), self.cache_dir
        )
        kept = [i for i, label in enumerate(drawn.labels) if data.CLASSES[label] in self.shapes]
        shapes = data.Shapes(*(array[kept[: self.num_images]] for array in drawn))
        labels = self._labels(shapes)
        # Views of one array, so forked workers share the memory; get_data_info returns copies.
        images = np.ascontiguousarray(shapes.images[..., ::-1])
        boxes = shapes.boxes.astype(np.float32)
        shape = (self.size, self.size)
        return [
            dict(
                img=images[i],
                img_shape=shape,
                ori_shape=shape,
                gt_label=labels[i],
                gt_bboxes=boxes[i : i + 1],
            )
            for i in range(self.num_images)
        ]

    def _num_drawn(self) -> int:
        """Images to draw for `num_images` of the chosen shapes: each ten have each shape once."""
        if self.shapes == data.CLASSES:
            return self.num_images
        return math.ceil(self.num_images / len(self.shapes)) * len(data.CLASSES)

    def _labels(self, shapes: data.Shapes) -> list[int]:
        if self.label == "shape":
            return [self.shapes.index(data.CLASSES[label]) for label in shapes.labels]
        outer = np.ones((self.size, self.size), bool)
        outer[2:-2, 2:-2] = False
        bright = shapes.images[:, outer].mean(axis=1) > 127.5  # (N, 3), red first
        return [int(number) for number in bright @ np.array([4, 2, 1])]

    def extra_repr(self) -> list[str]:
        drawn = f"{self.num_images} {self.split} images of {self.size} px, seed {self.seed}"
        return [drawn, f"{self.label}: {', '.join(self.metainfo['classes'])}"]
