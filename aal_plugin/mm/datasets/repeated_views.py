"""`RepeatedViews`: a few fixed views of each image, whose teacher maps can be kept."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from mmengine.dataset import BaseDataset, force_full_init
from mmpretrain.registry import DATASETS

from aal_plugin.core.settings import check_whole
from aal_plugin.mm.runs.random_states import seeded_item


@dataclass(frozen=True)
class View:
    """Which view a sample shows: entry `number` of `count`, of the images named by `images`."""

    number: int
    count: int
    folder: str | None
    images: dict[str, Any]


@DATASETS.register_module()
class RepeatedViews:
    """Shows K views of each image: the random transforms of view k of an image are always the same.

    The n-th time that an image is shown, it shows view (n + an offset of the image's own) mod K. In
    the epochs of `ResumableEpochLoop`, n is the epoch; otherwise each process counts.

    With `kept_maps`, AALClassifier computes the teacher's maps of each view once, keeps them in
    that folder, and reads them ever after: see `aal_plugin.core.KeptMaps`.

    Args:
        dataset: the data set with its pipeline, or its config.
        views: K.
        kept_maps: a folder for the teacher's maps of all views; None: the teacher always runs.
        seed: another seed gives other views.
        lazy_init: MMEngine's: read the data set later, but before workers start.

    Raises:
        ValueError: views or seed is out of range.
    """

    def __init__(
        self,
        dataset: dict | BaseDataset,
        views: int,
        kept_maps: str | Path | None = None,
        seed: int = 0,
        lazy_init: bool = False,
    ) -> None:
        check_whole("RepeatedViews.views", views, 1)
        check_whole("RepeatedViews.seed", seed, 0)
        self.dataset = DATASETS.build(dataset) if isinstance(dataset, dict) else dataset
        self.views = views
        self.seed = seed
        self.kept_maps = None if kept_maps is None else str(kept_maps)
        self._fully_initialized = False
        if not lazy_init:
            self.full_init()

    @property
    def metainfo(self) -> dict:
        return self.dataset.metainfo

    @property
    def CLASSES(self) -> Any:
        return self.dataset.CLASSES

    def full_init(self) -> None:
        if self._fully_initialized:
            return
        self.dataset.full_init()
        # Shared with the loader's workers, which live for one epoch or for all of them.
        self._shown = torch.zeros(len(self.dataset), dtype=torch.int64).share_memory_()
        self._images = {
            "images": _sum_of(self.dataset),
            "pipeline": repr(getattr(self.dataset, "pipeline", None)),
            "seed": self.seed,
        }
        self._fully_initialized = True

    @force_full_init
    def set_epoch(self, epoch: int) -> None:
        """Say how often each image was shown before."""
        self._shown.fill_(epoch)

    @force_full_init
    def get_data_info(self, idx: int) -> dict:
        return self.dataset.get_data_info(idx)

    @force_full_init
    def get_cat_ids(self, idx: int) -> list[int]:
        return self.dataset.get_cat_ids(idx)

    @force_full_init
    def get_gt_labels(self) -> np.ndarray:
        return self.dataset.get_gt_labels()

    @force_full_init
    def __len__(self) -> int:
        return len(self.dataset)

    @force_full_init
    def __getitem__(self, idx: int) -> Any:
        """The sample after the pipeline; its metainfo `view` says which view it shows."""
        offset = int(np.random.SeedSequence((self.seed, idx)).generate_state(1)[0])
        view = (int(self._shown[idx]) + offset) % self.views
        self._shown[idx] += 1
        sample = seeded_item(self.dataset, idx, (self.seed, idx, view))
        number, count = idx * self.views + view, len(self) * self.views
        sample["data_samples"].set_metainfo(
            dict(view=View(number, count, self.kept_maps, self._images))
        )
        return sample


def _sum_of(dataset: BaseDataset) -> str:
    """A hash of the images: their names and sizes, or their values where they are no files."""
    total = hashlib.sha256()
    for index in range(len(dataset)):
        info = dataset.get_data_info(index)
        path = info.get("img_path")
        if path is not None:
            total.update(f"{'/'.join(Path(path).parts[-2:])} {_size(path)}\n".encode())
        else:
            total.update(np.ascontiguousarray(info["img"]).tobytes())
    return total.hexdigest()[:16]


def _size(path: str) -> int:
    return Path(path).stat().st_size if Path(path).is_file() else 0
