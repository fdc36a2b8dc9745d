"""Colours and patterns of the shapes set, for shapes and backgrounds alike.

Colours are float32 in [0, 1], channels first. Only correctly rounded elementwise operations touch
arrays, as in silhouettes.py.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache

import numpy as np

# Low, high → a Python float in between. Not np.float64: NumPy 1 keeps float32 * np.float64 in
# float32, NumPy 2 does not.
Uniform = Callable[[float, float], float]

_KNOTS = 6


def colour(rgb: list[float]) -> np.ndarray:
    """(3, 1, 1), to be painted over a region (3, h, w)."""
    return np.array(rgb, dtype=np.float32)[:, None, None]


def random_rgb(uniform: Uniform, low: float = 0.0, high: float = 1.0) -> list[float]:
    return [uniform(low, high) for _ in range(3)]


def textured(
    rgb: list[float], contrast: float, u: np.ndarray, v: np.ndarray, uniform: Uniform
) -> np.ndarray:
    """A random pattern (3, h, w) of `rgb` and a colour at most `contrast` away in each channel.

    u, v (h, w): coordinates of the pattern, 1 being the width of an image.
    """
    other = [min(max(c + uniform(-contrast, contrast), 0.0), 1.0) for c in rgb]
    pattern = _PATTERNS[int(uniform(0, len(_PATTERNS)))]
    return colour(rgb) + pattern(u, v, uniform) * colour([b - a for a, b in zip(rgb, other)])


def clouds(size: int, rng: np.random.Generator) -> np.ndarray:
    """Low-frequency noise (size, size) in ±0.5: a coarse grid, linearly interpolated."""
    grid = (rng.random((_KNOTS, _KNOTS)) - 0.5).astype(np.float32)
    index, weight = _interpolation(size)
    rows = grid[index] + (grid[index + 1] - grid[index]) * weight[:, None]
    return rows[:, index] + (rows[:, index + 1] - rows[:, index]) * weight


@lru_cache(maxsize=8)
def _interpolation(size: int) -> tuple[np.ndarray, np.ndarray]:
    place = np.arange(size, dtype=np.float32) * np.float32((_KNOTS - 1) / size)
    index = place.astype(np.int64)
    return index, place - index.astype(np.float32)


def _wave(x: np.ndarray, period: float, sharpness: float) -> np.ndarray:
    """A triangle wave between 0 and 1, steeper and clipped the sharper it is."""
    phase = x * (1.0 / period)
    triangle = np.abs((phase - np.floor(phase)) * 2.0 - 1.0)
    return np.minimum(np.maximum((triangle - 0.5) * sharpness + 0.5, 0.0), 1.0)


def _plain(u: np.ndarray, v: np.ndarray, uniform: Uniform) -> np.ndarray:
    return np.zeros_like(u)


def _gradient(u: np.ndarray, v: np.ndarray, uniform: Uniform) -> np.ndarray:
    return np.minimum(np.maximum(u * uniform(0.8, 2.0) + 0.5, 0.0), 1.0)


def _stripes(u: np.ndarray, v: np.ndarray, uniform: Uniform) -> np.ndarray:
    return _wave(u, uniform(0.08, 0.25), uniform(1, 5))


def _checks(u: np.ndarray, v: np.ndarray, uniform: Uniform) -> np.ndarray:
    period, sharpness = uniform(0.12, 0.3), uniform(1, 5)
    return np.abs(_wave(u, period, sharpness) - _wave(v, period, sharpness))


_PATTERNS = (_plain, _gradient, _stripes, _checks)
