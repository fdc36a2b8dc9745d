"""The ten shape classes as signed distances, each inside the unit disk.

Coordinates: u to the right, v downwards, as in an image. A distance is negative inside the shape
and grows by about one per unit length outside. The code uses only correctly rounded elementwise
operations (+ - * / sqrt abs min max), so every machine computes the same bits; np.sin would not.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np


def circle(u: np.ndarray, v: np.ndarray) -> np.ndarray:
    return np.sqrt(u * u + v * v) - 0.88


def square(u: np.ndarray, v: np.ndarray) -> np.ndarray:
    return np.maximum(np.abs(u), np.abs(v)) - 0.7


def triangle(u: np.ndarray, v: np.ndarray) -> np.ndarray:
    return np.maximum(v - 0.5, 0.866025 * np.abs(u) - 0.5 * v - 0.5)


# Outward normals of a pentagram's five lines. Rounded: the last bit of cos depends on libm.
_STAR_NORMALS = tuple(
    (round(math.sin(k * math.tau / 5), 6), round(math.cos(k * math.tau / 5), 6)) for k in range(5)
)


def star(u: np.ndarray, v: np.ndarray) -> np.ndarray:
    # A point is inside the pentagram if it is outside at most one of the five lines, so the
    # second largest of the five line distances decides.
    (a, b), *others = _STAR_NORMALS
    largest = a * u + b * v
    second = largest - 4.0
    for a, b in others:
        side = a * u + b * v
        second = np.maximum(second, np.minimum(largest, side))
        largest = np.maximum(largest, side)
    return second - 0.309017


def cross(u: np.ndarray, v: np.ndarray) -> np.ndarray:
    u, v = np.abs(u), np.abs(v)
    return np.maximum(np.minimum(u, v) - 0.27, np.maximum(u, v) - 0.92)


def ring(u: np.ndarray, v: np.ndarray) -> np.ndarray:
    return np.abs(np.sqrt(u * u + v * v) - 0.68) - 0.2


def crescent(u: np.ndarray, v: np.ndarray) -> np.ndarray:
    v2 = v * v
    bite = u - 0.45
    return np.maximum(np.sqrt(u * u + v2) - 0.92, 0.75 - np.sqrt(bite * bite + v2))


def heart(u: np.ndarray, v: np.ndarray) -> np.ndarray:
    # A square on its corner and a disk on each of its two upper sides.
    u = np.abs(u)
    x, y = u - 0.35, v + 0.35
    return np.minimum((u + np.abs(v) - 0.7) * 0.707107, np.sqrt(x * x + y * y) - 0.494975)


def arrow(u: np.ndarray, v: np.ndarray) -> np.ndarray:
    v = np.abs(v)
    shaft = np.maximum(v - 0.2, np.abs(u + 0.35) - 0.6)
    head = np.maximum(0.05 - u, 0.65 * u + 0.76 * v - 0.6175)
    return np.minimum(shaft, head)


def hourglass(u: np.ndarray, v: np.ndarray) -> np.ndarray:
    v = np.abs(v)
    return np.maximum(v - 0.74, 0.8 * np.abs(u) - 0.62 * v - 0.06)


_ALL = (circle, square, triangle, star, cross, ring, crescent, heart, arrow, hourglass)
SILHOUETTES: dict[str, Callable[[np.ndarray, np.ndarray], np.ndarray]] = {
    silhouette.__name__: silhouette for silhouette in _ALL
}
CLASSES: tuple[str, ...] = tuple(SILHOUETTES)
