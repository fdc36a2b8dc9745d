"""`LocalizationAccuracy`: how well a student's attention localises the object."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from mmengine.evaluator import BaseMetric
from mmpretrain.registry import METRICS

from aal_plugin.analysis.localization import (
    best_iou,
    localization_accuracy,
    pick_map,
    threshold_boxes,
)


@METRICS.register_module()
class LocalizationAccuracy(BaseMetric):
    """MaxBoxAcc, GT-known and top-1 localisation of boxes from thresholded attention.

    It needs the hook `AttentionInPrediction`, and `gt_bboxes` in the samples: end the pipeline
    with `dict(type='PackInputs', algorithm_keys=['gt_bboxes'])`.
    `aal_plugin.analysis.localization.localization_accuracy` explains the results.

    Args:
        block, head: the block and head whose attention is used, counted from 1; by default the
            last block's mean over its heads.
        rollout: use attention rollout instead.
        thresholds: the number of thresholds, evenly spaced from 0 up to 1, or a list of them. With
            several, the metric reports the best one for the whole data set, as the benchmark does;
            give a list of one to fix the threshold in advance.
        iou: lowest IoU at which a box is correct; one value or more.

    Raises:
        ValueError: a setting is out of range, or the samples have no attention or boxes.
    """

    default_prefix = "localization"

    def __init__(
        self,
        block: int | None = None,
        head: int | None = None,
        rollout: bool = False,
        thresholds: int | Sequence[float] = 100,
        iou: Sequence[float] = (0.3, 0.5, 0.7),
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        if rollout and (block is not None or head is not None):
            raise ValueError(
                f"LocalizationAccuracy: rollout=True uses all blocks and heads; remove "
                f"block={block} and head={head}, or set rollout=False"
            )
        if isinstance(thresholds, int):
            self.thresholds = [i / thresholds for i in range(thresholds)]
        else:
            self.thresholds = [float(threshold) for threshold in thresholds]
        if not self.thresholds or not all(0 <= threshold <= 1 for threshold in self.thresholds):
            raise ValueError(
                f"LocalizationAccuracy.thresholds={thresholds}; choose a number of thresholds, 1 "
                "or more, or a list of values from 0 to 1"
            )
        if not iou or not all(0 < level <= 1 for level in iou):
            raise ValueError(f"LocalizationAccuracy.iou={iou}; choose values in (0, 1]")
        self.block, self.head, self.rollout, self.iou = block, head, rollout, tuple(iou)

    def process(self, data_batch: Any, data_samples: Sequence[dict]) -> None:
        for sample in data_samples:
            boxes = threshold_boxes(self._map(sample), sample["attention_size"], self.thresholds)
            truth = np.asarray(_needed(sample, "gt_bboxes"), float).reshape(-1, 4)
            self.results.append(
                dict(
                    ious=best_iou(boxes, truth).astype(np.float32),
                    correct=bool(sample["pred_label"].cpu() == sample["gt_label"].cpu()),
                )
            )

    def compute_metrics(self, results: list[dict]) -> dict[str, float]:
        ious = np.stack([result["ious"] for result in results])
        correct = np.array([result["correct"] for result in results])
        return localization_accuracy(ious, correct, self.thresholds, self.iou)

    def _map(self, sample: dict) -> torch.Tensor:
        if self.rollout:
            return _needed(sample, "attention_rollout")
        return pick_map(_needed(sample, "attention"), self.block, self.head)


_SOURCES = {
    "attention": "add default_hooks=dict(attention=dict(type='AttentionInPrediction'))",
    "attention_rollout": "set rollout=True in the hook AttentionInPrediction",
    "gt_bboxes": "end the pipeline with dict(type='PackInputs', algorithm_keys=['gt_bboxes'])",
}


def _needed(sample: dict, key: str) -> Any:
    if key not in sample:
        raise ValueError(f"LocalizationAccuracy: samples have no {key}; {_SOURCES[key]}")
    return sample[key]
