"""Reads the labels of a data set, in the forms that MMPretrain's data sets give them."""

from __future__ import annotations

from typing import Any

import numpy as np


def labels_of(dataset: Any, index: int) -> list[int] | None:
    """The labels of an image: one, or several of a multi-label data set; None for other forms."""
    if not hasattr(dataset, "get_data_info"):  # MMPretrain's MultiTaskDataset, a lab's own
        return None
    label = dataset.get_data_info(index).get("gt_label")
    if isinstance(label, int):
        return [label]
    if label is None or isinstance(label, dict):
        return None
    return [int(each) for each in np.ravel(label)]


def check_one_label(dataset: Any, who: str) -> None:
    """Raise ValueError if the first images of a data set have several labels, or none."""
    for index in range(min(10, len(dataset))):
        labels = labels_of(dataset, index)
        if labels is None or len(labels) != 1:
            what = "labels of another form" if labels is None else f"the labels {labels}"
            raise ValueError(
                f"{who} needs one label per image, but image number {index} of "
                f"{type(dataset).__name__} has {what}; remove {who}, or use data with one label"
            )
