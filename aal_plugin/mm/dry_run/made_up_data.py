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
from aal_plugin.mm.configs.types import PRETRAINED, type_name
from aal_plugin.process import in_words

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
_DOWNLOADS = ("teacher.pretrained=True", "teacher.checkpoint=True")  # how a teacher's error starts
_ASSUMED = 1000  # number of images when the data set is missing and its length is unknown


@DATASETS.register_module()
class MadeUpImages(BaseDataset):
    """Noise images with labels and boxes, passed through a config's own pipeline.

    Args:
        images: number of images.
        pipeline: the config's pipeline, used without its step that loads a file.
        classes: labels are 0 to classes - 1; for several tasks, the classes of each by its name.
        size: (H, W) in pixels before the pipeline.
        channels: those of an image; one channel has no axis of its own, as mmcv loads it.
    """

    def __init__(
        self,
        images: int,
        pipeline: Sequence[dict],
        classes: int | dict,
        size: Sequence[int],
        channels: int = 3,
    ) -> None:
        self.images, self.classes, self.shape = images, classes, tuple(size)
        self.channels = channels
        steps = [step for step in pipeline if type_name(step) != "LoadImageFromFile"]
        names = [f"class {label}" for label in range(classes if isinstance(classes, int) else 0)]
        super().__init__(ann_file="", classes=names, pipeline=steps, lazy_init=True)

    def full_init(self) -> None:
        self._fully_initialized = True  # there is nothing to load

    def __len__(self) -> int:
        return self.images

    def get_data_info(self, idx: int) -> dict:
        return dict(gt_label=_label(self.classes, idx))

    def get_subset(self, indices: Any) -> BaseDataset:  # a KFoldDataset asks for it
        count = indices if isinstance(indices, int) else len(indices)
        steps = self.pipeline.transforms
        return MadeUpImages(count, steps, self.classes, self.shape, self.channels)

    def __getitem__(self, index: int) -> Any:
        height, width = self.shape
        shape = self.shape if self.channels == 1 else (*self.shape, self.channels)
        pixels = np.random.default_rng(index).integers(0, 256, shape, np.uint8)
        box = np.array([[width // 4, height // 4, width * 3 // 4, height * 3 // 4]], np.float32)
        return self.pipeline(
            dict(
                self.get_data_info(index),
                img=pixels,
                img_shape=self.shape,
                ori_shape=self.shape,
                img_path=f"made-up image {index}",
                gt_bboxes=box,
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
        _use_random_weights(cfg.model.teacher)
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
        kind = type_name(dataset)
        count = TRAIN_IMAGES.get(kind, _ASSUMED)
        if kind not in TRAIN_IMAGES:
            missing.append(f"the length of {key} is unknown; {count} images are assumed")
        made_up = dict(
            type="MadeUpImages",
            images=count,
            pipeline=dataset.get("pipeline", ()),
            classes=_classes(cfg.model.get("head") or {}),
            size=image_size_before(dataset),
            channels=_image_channels(dataset, cfg.model.backbone),
        )
        dataset.clear()
        dataset.update(made_up)
    return missing


def image_size_before(dataset: dict) -> tuple[int, int]:
    """(H, W) of a data set's images before the pipeline, or of a typical photo."""
    side = dataset.get("size", _SIDES.get(type_name(dataset)))
    return (side, side) if isinstance(side, int) else (375, 500)


def _image_channels(dataset: dict, backbone: dict) -> int:
    """Channels before the pipeline: those that its LoadImageFromFile gives, or the student's."""
    for step in dataset.get("pipeline", ()):
        if type_name(step) == "LoadImageFromFile":
            return 1 if step.get("color_type") == "grayscale" else 3
    return int(backbone.get("in_channels", backbone.get("in_chans", 3)))


def without_download(cfg: Config, error: Exception) -> str:
    """Replace weights that failed to download by random weights.

    Returns:
        The line for the list of missing files.

    Raises:
        Exception: the given error, if its cause is not a download.
    """
    words = in_words(error)
    if words.startswith(_DOWNLOADS) and "download" in words:
        _use_random_weights(cfg.model.teacher)
        return words
    backbone = cfg.model.backbone
    start = backbone.get("init_cfg")
    parts = [start] if isinstance(start, dict) else start or []
    downloads = backbone.get("pretrained") or any(type_name(p) in PRETRAINED for p in parts)
    if not isinstance(error, OSError) or not downloads:
        raise error
    weights = backbone.get("pretrained") or [part.get("checkpoint") for part in parts]
    backbone.update(init_cfg=None)
    if "pretrained" in backbone:
        backbone.pretrained = False
    return f"model.backbone: its weights ({weights}) failed to download: {error}"


def _use_random_weights(teacher: dict) -> None:
    if "pretrained" in teacher:
        teacher["pretrained"] = False
    teacher.update(checkpoint=None, allow_random_weights=True)


def _classes(head: dict) -> int | dict:
    """The number of a head's classes; of several tasks, each by its name."""
    if "task_heads" not in head:
        return head.get("num_classes", 2)
    common = {key: value for key, value in head.items() if key not in ("type", "task_heads")}
    return {name: _classes({**common, **task}) for name, task in head["task_heads"].items()}


def _label(classes: int | dict, index: int) -> int | dict:
    if isinstance(classes, dict):
        return {task: _label(count, index) for task, count in classes.items()}
    return index % classes
