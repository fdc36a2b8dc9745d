"""`Wrapper`: what a data set around another one passes on."""

from __future__ import annotations

from typing import Any

import numpy as np
from mmengine.dataset import force_full_init


class Wrapper:
    """A data set that shows the images of its `dataset`; MMEngine asks these of every data set."""

    dataset: Any
    _fully_initialized: bool

    @property
    def metainfo(self) -> dict:
        return self.dataset.metainfo

    @property
    def CLASSES(self) -> Any:
        return self.dataset.CLASSES

    def full_init(self) -> None:
        raise NotImplementedError

    def inside(self, idx: int) -> int:
        """The index in `dataset` of a sample."""
        return idx

    @force_full_init
    def get_data_info(self, idx: int) -> dict:
        return self.dataset.get_data_info(self.inside(idx))

    @force_full_init
    def get_cat_ids(self, idx: int) -> list[int]:
        return self.dataset.get_cat_ids(self.inside(idx))

    @force_full_init
    def get_gt_labels(self) -> np.ndarray:
        return self.dataset.get_gt_labels()[[self.inside(idx) for idx in range(len(self))]]

    @force_full_init
    def __len__(self) -> int:
        return len(self.dataset)
