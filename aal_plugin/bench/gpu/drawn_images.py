"""The embedded images at full size: drawn on all cores, stored on the device, never on a disk.

# N images, B batch, s side in pixels
"""

from __future__ import annotations

import multiprocessing
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from itertools import repeat
from typing import NamedTuple

import torch
from torch import Tensor

from aal_plugin.data import Shapes, draw_shapes, split_seed

from .results import cores

PER_DRAWING = 50  # images; a multiple of the ten classes


class Images(NamedTuple):
    """Images (N, s, s, 3) uint8 RGB and labels (N,) int64."""

    images: Tensor
    labels: Tensor


def draw(split: str, count: int, size: int, device: str) -> Images:
    """Draw a split of the shapes set, every fifty images with a seed of their own.

    Call it before the process uses CUDA: the drawing processes are forked.

    Args:
        split: 'train' or 'val'; no image is in both.

    Example:
        >>> images, labels = draw("val", 20, 16, "cpu")
        >>> images.shape, labels.bincount().tolist()
        (torch.Size([20, 16, 16, 3]), [2, 2, 2, 2, 2, 2, 2, 2, 2, 2])
    """
    starts = range(0, count, PER_DRAWING)
    counts = [min(PER_DRAWING, count - start) for start in starts]
    seeds = [split_seed(split, number) for number in range(len(starts))]
    with _mapped(len(starts)) as mapped:
        drawn: list[Shapes] = list(mapped(draw_shapes, counts, repeat(size), seeds))
    images = torch.cat([torch.from_numpy(part.images) for part in drawn])
    labels = torch.cat([torch.from_numpy(part.labels) for part in drawn])
    return Images(images.to(device), labels.to(device))


@contextmanager
def _mapped(drawings: int) -> Iterator:
    """`map`, on several processes if there are several drawings and cores."""
    processes = min(cores(), drawings)
    if processes < 2 or "fork" not in multiprocessing.get_all_start_methods():
        yield map
        return
    with ProcessPoolExecutor(processes, multiprocessing.get_context("fork")) as pool:
        yield pool.map


def normalised(images: Tensor, mean: Sequence[float], std: Sequence[float]) -> Tensor:
    """Images (B, s, s, 3) uint8 → (B, 3, s, s) float32, with a mean and std of pixel values 0–1."""
    # Made on the device: a copy from the host would make every step wait.
    values = images.permute(0, 3, 1, 2).float()
    for channel in range(3):
        values[:, channel].div_(255).sub_(mean[channel]).div_(std[channel])
    return values


def augmented(images: Tensor) -> Tensor:
    """A random crop after reflecting an eighth of the side, and a random flip, per image.

    Args:
        images: (B, s, s, 3).

    Returns:
        (B, s, s, 3).
    """
    batch, side = images.shape[:2]
    reach = side // 8
    device = images.device
    index = torch.arange(side, device=device)
    rows, columns = (
        index + torch.randint(-reach, reach + 1, (batch, 1), device=device) for _ in range(2)
    )
    flipped = torch.rand(batch, 1, device=device) < 0.5
    columns = torch.where(flipped, side - 1 - columns, columns)
    rows, columns = (_reflected(place, side) for place in (rows, columns))
    which = torch.arange(batch, device=device)[:, None, None]
    return images[which, rows[:, :, None], columns[:, None, :]]


def _reflected(place: Tensor, side: int) -> Tensor:
    """Places outside 0 … side-1, reflected at the edge."""
    return (side - 1) - ((side - 1) - place.abs()).abs()
