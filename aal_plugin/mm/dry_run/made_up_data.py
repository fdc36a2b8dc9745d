"""Replaces the data and files that a config lacks, so that a dry run can build everything."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from mmengine.config import Config
from mmpretrain.datasets import BaseDataset
from mmpretrain.registry import DATASETS

from aal_plugin.checkpoint_file import check_checkpoint
from aal_plugin.mm.configs.files import check_data_set, check_teacher, data_sets
from aal_plugin.mm.configs.types import type_name

# Number of training images in the papers' data sets, for machines that do not have them.
TRAIN_IMAGES = dict(
    ImageNet=1_281_167,
    CIFAR10=50_000,
    CIFAR100=50_000,
    CUB=5_994,
    CUBWithBoxes=5_994,
    Flowers102=2_040,
)
_DOWNLOADED = ("CIFAR10", "CIFAR100")  # MMPretrain downloads them when a run starts
_SIDES = dict(
    CIFAR10=32, CIFAR100=32, MNIST=28, FashionMNIST=28, ShapesDataset=64, DigitsDataset=32
)
_ASSUMED = 1000  # number of images when the data set is missing and its length is unknown


@DATASETS.register_module()
class MadeUpImages(BaseDataset):
    """Noise images with labels and boxes, passed through a config's own pipeline.

    Args:
        images: number of images.
        pipeline: the config's pipeline, used without its step that loads a file.
        classes: labels are 0 to classes - 1.
        size: (H, W) in pixels before the pipeline.
        channels: those of an image; one channel has no axis of its own, as mmcv loads it.
    """

    def __init__(
        self,
        images: int,
        pipeline: Sequence[dict],
        classes: int,
        size: Sequence[int],
        channels: int = 3,
    ) -> None:
        self.images, self.classes = images, classes
        self.shape = tuple(size) if channels == 1 else (*size, channels)
        steps = [step for step in pipeline if type_name(step) != "LoadImageFromFile"]
        names = [f"class {label}" for label in range(classes)]
        super().__init__(ann_file="", classes=names, pipeline=steps, lazy_init=True)

    def full_init(self) -> None:
        self._fully_initialized = True  # there is nothing to load

    def __len__(self) -> int:
        return self.images

    def get_data_info(self, idx: int) -> dict:
        return dict(gt_label=idx % self.classes)

    def __getitem__(self, index: int) -> Any:
        height, width = self.shape[:2]
        box = [width // 4, height // 4, width * 3 // 4, height * 3 // 4]
        return self.pipeline(
            dict(
                self.get_data_info(index),
                img=np.random.default_rng(index).integers(0, 256, self.shape, np.uint8),
                img_shape=(height, width),
                ori_shape=(height, width),
                img_path=f"made-up image {index}",
                gt_bboxes=np.array([box], np.float32),
            )
        )


def replace_missing(cfg: Config) -> list[str]:
    """Replace missing data sets by made-up images, and missing checkpoints by random weights.

    Returns:
        A line for each missing file.
    """
    missing = []
    try:
        check_checkpoint(cfg.get("load_from"))
    except OSError as error:
        missing.append(f"load_from: {error}")
        cfg.load_from = None
    try:
        check_teacher(cfg.model.get("teacher"))
    except OSError as error:
        missing.append(f"model.{error}")
        cfg.model.teacher.update(checkpoint=None, allow_random_weights=True)
    for name in ("train_dataloader", "val_dataloader"):
        missing += _replace_data(cfg, name)
    cfg.test_dataloader = cfg.test_cfg = cfg.test_evaluator = None
    return missing


def _replace_data(cfg: Config, name: str) -> list[str]:
    """Let a loader make up its images if one of its data sets is missing, or is downloaded."""
    loader: Any = cfg.get(name)
    if not loader:
        return []
    loader.update(num_workers=0, persistent_workers=False)
    loader.pop("prefetch_factor", None)
    parts = list(data_sets(f"{name}.dataset", loader.dataset))
    missing = []
    for key, dataset in parts:
        try:
            check_data_set(key, dataset)
        except OSError as error:
            missing.append(str(error))
    if not missing and not any(type_name(dataset) in _DOWNLOADED for _, dataset in parts):
        return []
    for key, dataset in parts:
        count = TRAIN_IMAGES.get(type_name(dataset), _ASSUMED)
        if type_name(dataset) not in TRAIN_IMAGES:
            missing.append(f"the length of {key} is unknown; {count} images are assumed")
        made_up = dict(
            type="MadeUpImages",
            images=count,
            pipeline=dataset.get("pipeline", ()),
            classes=(cfg.model.get("head") or {}).get("num_classes", 2),
            size=image_size_before(dataset),
            channels=cfg.model.backbone.get("in_channels", 3),
        )
        dataset.clear()
        dataset.update(made_up)
    return missing


def image_size_before(dataset: dict) -> tuple[int, int]:
    """(H, W) of a data set's images before the pipeline, or of a typical photo."""
    side = dataset.get("size", _SIDES.get(type_name(dataset)))
    return (side, side) if isinstance(side, int) else (375, 500)
