"""`ClassBalancedSubset`: the same share of every class, and the same images on every machine."""

from __future__ import annotations

import hashlib
import os
from collections import defaultdict
from collections.abc import Iterable
from pathlib import PurePath
from typing import Any

from mmengine.dataset import BaseDataset, force_full_init
from mmpretrain.registry import DATASETS

from aal_plugin.core.settings import check_number, check_whole
from aal_plugin.mm.runs.random_states import named_item

from .labels import only_label
from .wrapper import Wrapper


@DATASETS.register_module()
class ClassBalancedSubset(Wrapper):
    """A share of every class of a data set, at least one image per class (AAL, section 5.1).

    Images are ranked by a hash of the seed, their class folder and their file name (or of their
    index, if they are not files). So the choice is the same on every machine, for any root folder
    and any order of the files, and a smaller fraction is a subset of a larger one.

    Args:
        dataset: the data set, or its config.
        fraction: in (0, 1].
        seed: another seed chooses other images.
        allow_outside: whether an annotation file may name images outside the data set's folder.
        lazy_init: choose the images at the first access, not at once.

    Raises:
        ValueError: fraction or seed is out of range; an image lies outside the folder, or has
            several labels.
    """

    def __init__(
        self,
        dataset: dict | BaseDataset,
        fraction: float,
        seed: int = 0,
        allow_outside: bool = False,
        lazy_init: bool = False,
    ) -> None:
        check_number("ClassBalancedSubset.fraction", fraction, "from (0, 1]", high=1, above=0)
        check_whole("ClassBalancedSubset.seed", seed, 0)
        self.dataset = DATASETS.build(dataset) if isinstance(dataset, dict) else dataset
        self.fraction = fraction
        self.seed = seed
        self.allow_outside = allow_outside
        self._fully_initialized = False
        if not lazy_init:
            self.full_init()

    def full_init(self) -> None:
        if self._fully_initialized:
            return
        self.dataset.full_init()
        if not self.allow_outside:
            infos = map(self.dataset.get_data_info, range(len(self.dataset)))
            check_inside(self.dataset, (i["img_path"] for i in infos if "img_path" in i))
        self.indices = list(range(len(self.dataset)))
        if self.fraction < 1:
            by_class: dict[int, list[tuple[bytes, int]]] = defaultdict(list)
            for index in self.indices:
                info = self.dataset.get_data_info(index)
                label = only_label(info, index, self.dataset, "ClassBalancedSubset")
                path = info.get("img_path")
                name = index if path is None else "/".join(PurePath(path).parts[-2:])
                rank = hashlib.sha256(f"{self.seed}:{name}".encode()).digest()
                by_class[label].append((rank, index))
            self.indices = sorted(
                index
                for ranked in by_class.values()
                for _, index in sorted(ranked)[: max(1, round(self.fraction * len(ranked)))]
            )
        self._fully_initialized = True

    def inside(self, idx: int) -> int:
        return self.indices[idx]

    @force_full_init
    def __len__(self) -> int:
        return len(self.indices)

    @force_full_init
    def __getitem__(self, idx: int) -> Any:
        """The sample after the pipeline; an error in the pipeline names the image file."""
        return named_item(self.dataset, self.indices[idx])


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
