"""Weakly supervised localisation: boxes from an attention map, and how many are right.

The evaluation of Choe et al. ("Evaluating Weakly Supervised Object Localization Methods Right",
CVPR 2020): resize the map to the image, scale it to 0–1 and cut it at every threshold; the box
surrounds the largest connected part above the threshold.

# h w map grid, H W image, T thresholds, K true boxes of an image, N images
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import cv2
import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F
from torchvision.ops import box_iou


def pick_map(maps: Sequence[Tensor], block: int | None = None, head: int | None = None) -> Tensor:
    """One map (h, w) of the maps of every block, (M, h, w) each.

    Blocks and heads count from 1; by default it is the mean over the heads of the last block.

    Raises:
        ValueError: the student has no such block or head.
    """
    chosen = _numbered("block", maps, len(maps) if block is None else block)
    return chosen.mean(dim=0) if head is None else _numbered("head", chosen, head)


def _numbered(name: str, choices: Sequence[Tensor] | Tensor, number: int) -> Tensor:
    if not 1 <= number <= len(choices):
        raise ValueError(f"LocalizationAccuracy.{name}={number}; choose 1 to {len(choices)}")
    return choices[number - 1]


def threshold_boxes(
    attention: Tensor, image_size: tuple[int, int], thresholds: Sequence[float]
) -> np.ndarray:
    """The box around the largest part of a map that reaches a threshold, for each threshold.

    Pixels that touch by a side or a corner belong to one part.

    Args:
        attention: (h, w), covering the image; resized bilinearly to `image_size`, (H, W).
        thresholds: T values from 0 to 1.

    Returns:
        (T, 4), x1, y1, x2, y2 in pixels, x2 and y2 exclusive; zeros if no pixel reaches the
        threshold.

    Example:
        >>> import torch
        >>> attention = torch.zeros(4, 4)
        >>> attention[1:3, 2:4] = 1.0
        >>> threshold_boxes(attention, (4, 4), [0.5]).tolist()
        [[2.0, 1.0, 4.0, 3.0]]
    """
    resized = F.interpolate(
        attention[None, None].float(), size=tuple(image_size), mode="bilinear", align_corners=False
    )[0, 0]
    shifted = resized - resized.min()
    # clamp_min: a flat map stays at 0 and gets no box at any threshold above 0.
    score = (shifted / shifted.max().clamp_min(1e-12)).cpu().numpy()
    return np.array([_largest_part(score >= threshold) for threshold in thresholds], float)


def best_iou(boxes: np.ndarray, truth: np.ndarray) -> np.ndarray:
    """Intersection over union of boxes (T, 4) with the true box that fits best (K, 4) → (T,)."""
    return box_iou(torch.from_numpy(boxes), torch.from_numpy(truth)).amax(dim=1).numpy()


def find_threshold(images: Iterable[tuple[Tensor, tuple[int, int], np.ndarray]]) -> float:
    """The threshold, in steps of 0.01, at which most images have a right box (IoU ≥ 0.5).

    Of each image its attention (h, w), its size (H, W) and its true boxes (K, 4).
    """
    thresholds = [step / 100 for step in range(100)]
    ious = [
        best_iou(threshold_boxes(attention, size, thresholds), boxes)
        for attention, size, boxes in images
    ]
    return thresholds[int((np.array(ious) >= 0.5).mean(axis=0).argmax())]


def localization_accuracy(
    ious: np.ndarray,
    correct: np.ndarray,
    thresholds: Sequence[float],
    levels: Sequence[float] = (0.3, 0.5, 0.7),
) -> dict[str, float]:
    """Percentages over a data set, the threshold chosen for all its images together.

    Args:
        ious: (N, T).
        correct: (N,), whether the image's class was predicted.
        levels: IoU values from which a box counts as right.

    Returns:
        `maxboxacc_<level>`: images whose box is right, at the best threshold for that level, and
        `maxboxacc`, their mean. `gt_known`: the same at IoU 0.5; `top1`: box and class are both
        right, at the threshold of `gt_known`, which is `threshold`.
    """
    accuracy = {level: (ious >= level).mean(axis=0) * 100 for level in (*levels, 0.5)}
    results = {f"maxboxacc_{round(100 * level)}": accuracy[level].max() for level in levels}
    results["maxboxacc"] = np.mean([accuracy[level].max() for level in levels])
    best = int(accuracy[0.5].argmax())
    results["gt_known"] = accuracy[0.5][best]
    results["top1"] = ((ious[:, best] >= 0.5) & correct).mean() * 100
    results["threshold"] = thresholds[best]
    return {name: float(value) for name, value in results.items()}


def _largest_part(mask: np.ndarray) -> list[int]:
    count, _, stats, _ = cv2.connectedComponentsWithStats(mask.astype(np.uint8), connectivity=8)
    if count == 1:  # background only
        return [0, 0, 0, 0]
    x, y, width, height, _ = stats[1 + stats[1:, cv2.CC_STAT_AREA].argmax()]
    return [x, y, x + width, y + height]
