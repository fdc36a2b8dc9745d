"""Replaces the data and files that a config lacks, so that a dry run can build everything."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np
from mmengine.config import Config
from mmengine.dataset import Compose
from mmpretrain.datasets import BaseDataset
from mmpretrain.registry import DATASETS
from torch.utils.data import Dataset

from aal_plugin.checkpoint_file import check_checkpoint
from aal_plugin.mm.configs.types import PRETRAINED, type_name
from aal_plugin.mm.datasets.data_layout import check_data
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
_DOWNLOADS = ("teacher.pretrained=True", "teacher.checkpoint=True")  # how a teacher's error starts
_ASSUMED = 1000  # number of images when the data set is missing and its length is unknown


class Prepared(NamedTuple):
    """A config that can be built without its files.

    Attributes:
        cfg: the config on made-up images.
        missing: one line for each missing file; later steps append to it.
        real: the training data set if its files exist, else None.
    """

    cfg: Config
    missing: list[str]
    real: BaseDataset | None


@DATASETS.register_module()
class MadeUpImages(Dataset):
    """Noise images with labels and boxes, passed through a config's own pipeline.

    Args:
        images: number of images.
        pipeline: the config's pipeline, used without its step that loads a file.
        classes: labels are 0 to classes - 1.
        size: (H, W) in pixels before the pipeline.
        channels: those of an image; one channel has no axis of its own, as mmcv loads it.
    """

    metainfo: dict[str, Any] = {}

    def __init__(
        self,
        images: int,
        pipeline: Sequence[dict],
        classes: int,
        size: Sequence[int],
        channels: int = 3,
    ) -> None:
        steps = [step for step in pipeline if type_name(step) != "LoadImageFromFile"]
        self.images, self.classes = images, classes
        self.shape, self.channels = tuple(size), channels
        self.pipeline = Compose([dict(step) for step in steps])

    def __len__(self) -> int:
        return self.images

    def __getitem__(self, index: int) -> Any:
        height, width = self.shape
        shape = self.shape if self.channels == 1 else (*self.shape, self.channels)
        pixels = np.random.default_rng(index).integers(0, 256, shape, np.uint8)
        box = np.array([[width // 4, height // 4, width * 3 // 4, height * 3 // 4]], np.float32)
        return self.pipeline(
            dict(
                img=pixels,
                img_shape=self.shape,
                ori_shape=self.shape,
                img_path=f"made-up image {index}",
                gt_label=index % self.classes,
                gt_bboxes=box,
            )
        )


def without_missing_files(cfg: Config) -> Prepared:
    """Replace the training data by made-up images, and missing checkpoints by random weights."""
    cfg, missing = Config(cfg.to_dict()), []

    def exists(check: Callable[[], None], key: str = "") -> bool:
        try:
            check()
        except OSError as error:
            missing.append(f"{key}{error}")
            return False
        return True

    if not exists(lambda: check_checkpoint(cfg.get("load_from")), "load_from: "):
        cfg.load_from = None
    teacher = cfg.model.get("teacher")
    checkpoint = teacher.get("checkpoint") if isinstance(teacher, dict) else None
    if isinstance(checkpoint, str) and not exists(
        lambda: check_checkpoint(checkpoint), "model.teacher: "
    ):
        _use_random_weights(teacher)
    exists(lambda: check_data(cfg, ("val_dataloader",)))
    data = cfg.train_dataloader.dataset
    real = None
    if exists(lambda: check_data(cfg, ("train_dataloader",))) and _name(data) not in _DOWNLOADED:
        real = DATASETS.build(data)
    elif _name(data) not in TRAIN_IMAGES:
        missing.append(f"the length of the training data is unknown; {_ASSUMED} images are assumed")
    cfg.train_dataloader.dataset = dict(
        type="MadeUpImages",
        images=_length(data) if real is None else len(real),
        pipeline=_pipeline(data),
        classes=cfg.model.head.get("num_classes", 2),
        size=_image_size(data, real),
        channels=_image_channels(data, cfg.model.backbone),
    )
    cfg.train_dataloader.update(num_workers=0, persistent_workers=False)
    cfg.train_dataloader.pop("prefetch_factor", None)
    cfg.val_dataloader = cfg.val_cfg = cfg.val_evaluator = None
    cfg.test_dataloader = cfg.test_cfg = cfg.test_evaluator = None
    return Prepared(cfg, missing, real)


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


def _name(data: dict) -> str:
    """The type of the data set inside all wrappers."""
    return _name(data["dataset"]) if "dataset" in data else type_name(data)


def _pipeline(data: dict) -> Sequence[dict]:
    return _pipeline(data["dataset"]) if "dataset" in data else data.get("pipeline", ())


def _length(data: dict) -> int:
    if "dataset" in data:
        return round(data.get("fraction", 1.0) * data.get("times", 1) * _length(data["dataset"]))
    return TRAIN_IMAGES.get(type_name(data), _ASSUMED)


def _image_channels(data: dict, backbone: dict) -> int:
    """Channels before the pipeline: those that its LoadImageFromFile gives, or the student's."""
    for step in _pipeline(data):
        if type_name(step) == "LoadImageFromFile":
            return 1 if step.get("color_type") == "grayscale" else 3
    return int(backbone.get("in_channels", backbone.get("in_chans", 3)))


def _image_size(data: dict, real: BaseDataset | None) -> tuple[int, int]:
    """(H, W) of the images before the pipeline; if it is unknown, that of a typical photo."""
    pixels = None if real is None else real.get_data_info(0).get("img")
    if pixels is not None:
        height, width = pixels.shape[:2]
        return height, width
    return (32, 32) if _name(data) in _DOWNLOADED else (375, 500)
