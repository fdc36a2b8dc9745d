"""Reads the labels of a data set, in the forms that MMPretrain's data sets give them."""

from __future__ import annotations

from typing import Any

import numpy as np


def labels_of(info: dict[str, Any]) -> list[int] | None:
    """The labels of an image from `get_data_info`: one, or several of a multi-label data set.

    Returns:
        None for labels of another form.

    Example:
        >>> labels_of(dict(gt_label=3)), labels_of(dict(gt_label=[0, 2]))
        ([3], [0, 2])
    """
    label = info.get("gt_label")
    if isinstance(label, int):
        return [label]
    if label is None or isinstance(label, dict):
        return None
    return [int(each) for each in np.ravel(label)]


def only_label(info: dict[str, Any], index: int, dataset: Any, who: str) -> int:
    """The label of an image that has exactly one.

    Raises:
        ValueError: it has several, or none; names the image and `who`, which needs one.
    """
    labels = labels_of(info)
    if labels is not None and len(labels) == 1:
        return labels[0]
    what = "labels of another form" if labels is None else f"the labels {labels}"
    raise ValueError(
        f"{who} needs one label per image, but image number {index} of {type(dataset).__name__} "
        f"has {what}; remove {who}, or use data with one label"
    )
