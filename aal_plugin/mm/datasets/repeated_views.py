"""`RepeatedViews`: a few fixed views of each image, whose teacher maps can be kept."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from mmengine.dataset import BaseDataset, force_full_init
from mmengine.dist import get_world_size
from mmpretrain.registry import DATASETS

from aal_plugin.core.losses.link_ranges import as_grid
from aal_plugin.core.settings import check_whole
from aal_plugin.core.teacher.kept_maps import KeptMaps
from aal_plugin.core.teacher.packing import check_bits
from aal_plugin.core.teacher.views import images_sum, view_number, words_of
from aal_plugin.mm.runs.random_states import seeded_item, states_restored

from .wrapper import Wrapper


@dataclass(frozen=True)
class View:
    """Which view a sample shows: entry `number` of `count`, of the images that `images` names."""

    number: int
    count: int
    images: dict[str, Any]
    folder: str | None = None
    bits: int = 8
    size: tuple[int, int] | None = None
    entry: np.ndarray | None = None  # what a loader's worker has read, if it is kept already

    def __deepcopy__(self, memo: dict[int, Any]) -> View:
        return self  # a sample that moves to a device is copied


@DATASETS.register_module()
class RepeatedViews(Wrapper):
    """Shows K views of each image: the random transforms of view k of an image are always the same.

    The n-th time that an image is shown, it shows view (n + an offset of the image's own) mod K.
    With our launchers, n follows from the epoch, or from the iteration, and a resumed run goes on
    where it was; otherwise each process counts.

    With `kept_maps`, AALClassifier computes the teacher's maps of each view once and keeps them in
    that folder, see `aal_plugin.core.KeptMaps`; the loader's workers read them.

    Args:
        dataset: the data set with its pipeline, or its config.
        views: K.
        kept_maps: a folder for the teacher's maps of all views; None: the teacher always runs.
        kept_bits: of a kept value: 4, 8 or 16.
        kept_size: a side or (h, w): maps are kept no larger. By default they are kept on the grid
            on which the losses compare them.
        seed: another seed gives other views.
        lazy_init: MMEngine's.
    """

    def __init__(
        self,
        dataset: dict | BaseDataset,
        views: int,
        kept_maps: str | Path | None = None,
        kept_bits: int = 8,
        kept_size: int | Sequence[int] | None = None,
        seed: int = 0,
        lazy_init: bool = False,
    ) -> None:
        check_whole("RepeatedViews.views", views, 1)
        check_whole("RepeatedViews.seed", seed, 0)
        check_bits("RepeatedViews.kept_bits", kept_bits)
        self.dataset = DATASETS.build(dataset) if isinstance(dataset, dict) else dataset
        self.views = views
        self.seed = seed
        self.repeats = 1  # of an image in one pass of the loader's sampler
        self._kept: KeptMaps | None = None
        self._view = View(
            number=0,
            count=0,
            images={},
            folder=None if kept_maps is None else str(kept_maps),
            bits=kept_bits,
            size=as_grid(kept_size, "RepeatedViews.kept_size"),
        )
        self._fully_initialized = False
        if not lazy_init:
            self.full_init()

    def full_init(self) -> None:
        if self._fully_initialized:
            return
        self.dataset.full_init()
        # Shared with the loader's workers, which live for one epoch or for all of them.
        self._shown = torch.zeros(len(self.dataset), dtype=torch.int64).share_memory_()
        self._ranks = get_world_size()
        infos = map(self.dataset.get_data_info, range(len(self.dataset)))
        images = {
            "images": images_sum(info.get("img_path", info.get("img")) for info in infos),
            "pipeline": _pipelines(self.dataset),
            "seed": self.seed,
        }
        self._view = replace(self._view, images=images, count=len(self.dataset) * self.views)
        self._fully_initialized = True

    @force_full_init
    def __getitem__(self, idx: int) -> Any:
        """The sample after the pipeline; its metainfo `view` says which view it shows."""
        shown = int(self._shown[idx])
        self._shown[idx] += 1
        with states_restored(always=True):
            return self._sample(idx, shown)

    @force_full_init
    def placed_item(self, idx: int, numbers: tuple[int, ...]) -> Any:
        """The sample at a place of a training: (seed, rank, pass of the sampler, place in it).

        A sampler that never ends goes through the images again and again in one pass. One that
        repeats each image (`RepeatAugSampler`) shows a view of its own each time.
        """
        _, rank, passes, place = numbers
        before = place * self._ranks + rank  # images that all ranks have seen in this pass
        return self._sample(idx, passes + before // len(self) + before % self.repeats)

    def _sample(self, idx: int, shown: int) -> Any:
        number = view_number(idx, shown, self.views, self.seed)
        sample = seeded_item(self.dataset, idx, (self.seed, idx, number % self.views))
        view = replace(self._view, number=number, entry=self._entry(number))
        sample["data_samples"].set_metainfo(dict(view=view))
        return sample

    def _entry(self, number: int) -> np.ndarray | None:
        if self._kept is None and self._view.folder is not None:
            self._kept = KeptMaps.existing(self._view.folder)  # None until a batch's maps are kept
        return None if self._kept is None else self._kept.read([number])[0]


def _pipelines(dataset: Any) -> str:
    """The transforms of a data set and of those inside it."""
    inside = [getattr(dataset, "dataset", None), *getattr(dataset, "datasets", ())]
    own = getattr(getattr(dataset, "pipeline", None), "transforms", [])
    return words_of(own) + "".join(_pipelines(one) for one in inside if one is not None)
