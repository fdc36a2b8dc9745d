"""Checks that the files of the data sets exist, before anything is built."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

from mmengine.config import Config

from aal_plugin.mm.configs.types import type_name


class Layout(NamedTuple):
    """Files and folders that a data set needs below `data_root`, and its source."""

    needed: tuple[str, ...]
    source: str


_CUB = Layout(
    ("images", "images.txt", "image_class_labels.txt", "train_test_split.txt"),
    "CUB_200_2011.tgz from https://www.vision.caltech.edu/datasets/cub_200_2011",
)
LAYOUTS: dict[str, Layout] = {
    "ImageNet": Layout((), "https://image-net.org/download, a folder of images for each class"),
    "CUB": _CUB,
    "CUBWithBoxes": _CUB._replace(needed=(*_CUB.needed, "bounding_boxes.txt")),
    "Flowers102": Layout(
        ("jpg", "imagelabels.mat", "setid.mat"),
        "102flowers.tgz, imagelabels.mat and setid.mat from "
        "https://www.robots.ox.ac.uk/~vgg/data/flowers/102",
    ),
    "CustomDataset": Layout((), "a folder of images for each class"),
}


def check_data(cfg: Config, loaders: tuple[str, ...]) -> None:
    """Check that the files of a config's data sets exist.

    CIFAR is not checked, because MMPretrain downloads it.

    Raises:
        FileNotFoundError: names the config key, the missing files, their expected paths and the
            source of the data set.
    """
    for loader in loaders:
        for key, dataset in _data_sets(f"{loader}.dataset", (cfg.get(loader) or {}).get("dataset")):
            root = dataset.get("data_root") or ""
            kind = type_name(dataset)
            if kind not in LAYOUTS or "://" in root:
                continue
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


def check_inside(dataset: Any, paths: Iterable[str]) -> None:
    """Raise ValueError if an annotation file names an image outside the data set's folder.

    The folder is `data_prefix` within `data_root`. If neither is set, every path is allowed.
    """
    root = (getattr(dataset, "data_prefix", None) or {}).get("img_path")
    if not root or "://" in root:
        return
    inside = os.path.join(os.path.abspath(root), "")  # ends in a slash, so that root2/ differs
    for path in paths:
        if not os.path.abspath(path).startswith(inside):
            raise ValueError(
                f"{type(dataset).__name__}: {getattr(dataset, 'ann_file', '')!r} names {path!r}, "
                f"which is outside data_root and data_prefix ({root!r}); set allow_outside=True "
                "to allow it"
            )


def _data_sets(key: str, dataset: dict[str, Any] | None) -> Iterator[tuple[str, dict]]:
    """The data sets inside wrappers (a subset, ConcatDataset), with their config keys."""
    if dataset is None:
        return
    if "dataset" in dataset:
        yield from _data_sets(f"{key}.dataset", dataset["dataset"])
    elif "datasets" in dataset:
        for index, part in enumerate(dataset["datasets"]):
            yield from _data_sets(f"{key}.datasets.{index}", part)
    else:
        yield key, dataset


def _beneath(dataset: dict[str, Any], root: Path) -> list[Path]:
    """The paths that a data set's keys name: the folder of its split, its annotation file."""
    prefix = dataset.get("data_prefix") or ""
    prefix = prefix.get("img_path", "") if isinstance(prefix, dict) else prefix
    split = dataset.get("split") if type_name(dataset) == "ImageNet" else None
    names = [dataset.get("ann_file"), prefix or split]
    return [root / name for name in names if name]
