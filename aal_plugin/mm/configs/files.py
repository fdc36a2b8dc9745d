"""Checks that the files of a config exist, before anything is built from it."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

from mmengine.config import Config

from aal_plugin.checkpoint_file import check_checkpoint

from .types import type_name


class Layout(NamedTuple):
    """Files and folders that a data set needs below `data_root`, and its source."""

    needed: tuple[str, ...]
    source: str


_CUB = Layout(
    ("images", "images.txt", "image_class_labels.txt", "train_test_split.txt"),
    "CUB_200_2011.tgz from https://www.vision.caltech.edu/datasets/cub_200_2011",
)
_FOLDERS = Layout((), "a folder of images for each class")
_LIST = Layout((), "a folder of images, and ann_file with the labels of each")
# CIFAR is not here, because MMPretrain downloads it.
LAYOUTS: dict[str, Layout] = {
    "ImageNet": Layout((), f"https://image-net.org/download, {_FOLDERS.source}"),
    "CUB": _CUB,
    "CUBWithBoxes": _CUB._replace(needed=(*_CUB.needed, "bounding_boxes.txt")),
    "Flowers102": Layout(
        ("jpg", "imagelabels.mat", "setid.mat"),
        "102flowers.tgz, imagelabels.mat and setid.mat from "
        "https://www.robots.ox.ac.uk/~vgg/data/flowers/102",
    ),
    "CustomDataset": _FOLDERS,
    "MultiLabelDataset": _LIST,
    "MultiTaskDataset": _LIST,
}


def check_data(cfg: Config, loaders: tuple[str, ...]) -> None:
    """Check that the files of a config's data sets exist.

    Raises:
        FileNotFoundError: names the config key, the missing files, their expected paths and the
            source of the data set.
    """
    for loader in loaders:
        for key, dataset in data_sets(f"{loader}.dataset", (cfg.get(loader) or {}).get("dataset")):
            check_data_set(key, dataset)


def check_data_set(key: str, dataset: dict[str, Any]) -> None:
    """`check_data` for one data set without wrappers."""
    kind, root = type_name(dataset), dataset.get("data_root") or ""
    if kind not in LAYOUTS or "://" in root:
        return
    layout, root = LAYOUTS[kind], Path(root)
    wanted = [root / name for name in layout.needed] or [root, *_beneath(dataset, root)]
    missing = [path for path in wanted if not path.exists()]
    if missing:
        raise FileNotFoundError(
            f"{key} ({kind}, data_root={str(root)!r}): missing "
            f"{', '.join(path.name or str(path) for path in missing)}; expected at "
            f"{', '.join(str(path.absolute()) for path in missing)}. Source: "
            f"{layout.source}. If the data are in another folder, set {key}.data_root"
        )


def check_teacher(teacher: Any) -> None:
    """Check that the checkpoint in a teacher's config is a whole file.

    Raises:
        FileNotFoundError, PermissionError, ValueError: see `check_checkpoint`.
    """
    checkpoint = teacher.get("checkpoint") if isinstance(teacher, dict) else None
    if isinstance(checkpoint, str):
        try:
            check_trained(checkpoint, teacher.get("config"))
        except (ValueError, OSError) as error:
            raise type(error)(f"teacher.{error}") from error


def check_trained(checkpoint: str | None, config: Any) -> None:
    """`check_checkpoint`; if the file is one that a training writes, the error says which."""
    try:
        check_checkpoint(checkpoint)
    except FileNotFoundError as error:
        path = Path(checkpoint or "")
        if isinstance(config, str) and re.fullmatch(r"(epoch|iter)_\d+\.pth", path.name):
            command = f"aal train {config} --work-dir {path.parent}"
            raise FileNotFoundError(f"{error}; train it first: {command}") from error
        raise


def data_sets(key: str, dataset: dict[str, Any] | None) -> Iterator[tuple[str, dict]]:
    """The data sets inside wrappers (a subset, ConcatDataset), with their config keys."""
    if dataset is None:
        return
    if "dataset" in dataset:
        yield from data_sets(f"{key}.dataset", dataset["dataset"])
    elif "datasets" in dataset:
        for index, part in enumerate(dataset["datasets"]):
            yield from data_sets(f"{key}.datasets.{index}", part)
    else:
        yield key, dataset


def _beneath(dataset: dict[str, Any], root: Path) -> list[Path]:
    """The paths that a data set's keys name: the folder of its split, its annotation file."""
    prefix = dataset.get("data_prefix") or ""
    prefix = prefix.get("img_path", "") if isinstance(prefix, dict) else prefix
    split = dataset.get("split") if type_name(dataset) == "ImageNet" else None
    names = [dataset.get("ann_file"), prefix or split]
    return [root / name for name in names if name]
