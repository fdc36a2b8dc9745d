"""One image of the shapes set: a textured shape over a textured, cluttered background.

Every random number comes from one generator, lengths are relative to the image size, and no other
library draws: a seed gives the same bytes on every machine.

    # s image size in pixels, (h, w) a crop of the image
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

from .silhouettes import CLASSES, SILHOUETTES
from .textures import Uniform, clouds, colour, random_rgb, textured

Crop = tuple[slice, slice]


class Pose(NamedTuple):
    """Centre and radius in pixels, cosine and sine of the rotation, squeeze of the two axes."""

    x: float
    y: float
    radius: float
    cos: float
    sin: float
    squeeze: tuple[float, float] = (1.0, 1.0)


class Scene(NamedTuple):
    """image (s, s, 3) uint8 RGB; mask (h, w) of the pixels whose centre the shape covers."""

    image: np.ndarray
    mask: np.ndarray
    crop: Crop

    def box(self) -> list[int]:
        """x1, y1, x2, y2 around the mask, x2 and y2 exclusive."""
        rows = np.flatnonzero(self.mask.any(axis=1)) + self.crop[0].start
        cols = np.flatnonzero(self.mask.any(axis=0)) + self.crop[1].start
        return [cols[0], rows[0], cols[-1] + 1, rows[-1] + 1]


def draw_scene(label: int, size: int, rng: np.random.Generator) -> Scene:
    numbers = _numbers(rng)

    def uniform(low: float, high: float) -> float:
        return low + (high - low) * next(numbers)

    paper = random_rgb(uniform, 0.1, 0.9)
    ink = paper
    while sum(abs(a - b) for a, b in zip(ink, paper)) < 1.3:  # so that a person can see the shape
        ink = random_rgb(uniform)

    whole = (slice(0, size), slice(0, size))
    image = textured(paper, 0.2, *_texture_grid(whole, size, uniform), uniform)
    image += clouds(size, rng) * colour(random_rgb(uniform, -0.2, 0.2))
    for _ in range(int(uniform(0, 3))):
        _draw_line(image, 0.04, uniform)
    for _ in range(int(uniform(0, 2))):
        _draw_fragment(image, uniform)

    pose = _shape_pose(label, size, uniform)
    crop = _crop(pose, size)
    distance = SILHOUETTES[CLASSES[label]](*_grid(pose, crop)) * (pose.radius * min(pose.squeeze))
    fill = textured(ink, 0.25, *_texture_grid(crop, size, uniform), uniform)
    _paint(image, crop, distance, fill)
    for _ in range(int(uniform(0, 2))):
        _draw_line(image, 0.01, uniform)

    image += (rng.random((size, size)) * 0.06 - 0.03).astype(np.float32)
    image = np.minimum(np.maximum(image, 0.0), 1.0) * 255.0 + 0.5
    return Scene(image.astype(np.uint8).transpose(1, 2, 0), distance < 0, crop)


def _numbers(rng: np.random.Generator) -> Iterator[float]:
    while True:  # in blocks: one call per number would take as long as the drawing
        yield from rng.random(128).tolist()


def _rotation(degrees: float) -> tuple[float, float]:
    angle = math.radians(degrees)
    # Rounded: the last bit of cos and sin depends on the platform's libm.
    return round(math.cos(angle), 6), round(math.sin(angle), 6)


def _shape_pose(label: int, size: int, uniform: Uniform) -> Pose:
    radius = size * uniform(0.26, 0.38)
    tilt = uniform(-15, 15)
    x, y = uniform(radius, size - radius), uniform(radius, size - radius)
    return Pose(x, y, radius, *_rotation(tilt), (uniform(0.8, 1.0), uniform(0.8, 1.0)))


def _any_pose(size: int, low: float, high: float, uniform: Uniform) -> Pose:
    """Any place, any angle; the radius is between low and high, in image sizes."""
    x, y = size * uniform(0, 1), size * uniform(0, 1)
    return Pose(x, y, size * uniform(low, high), *_rotation(uniform(0, 360)))


def _crop(pose: Pose, size: int) -> Crop:
    """The part of the image that the pose's disk covers, plus one pixel for the soft edge."""

    def span(centre: float) -> slice:
        low, high = math.floor(centre - pose.radius) - 1, math.ceil(centre + pose.radius) + 1
        return slice(max(low, 0), min(high, size))

    return span(pose.y), span(pose.x)


def _grid(pose: Pose, crop: Crop) -> tuple[np.ndarray, np.ndarray]:
    """The crop's pixel centres in the pose's own coordinates, (h, w) each."""
    dy = np.arange(crop[0].start, crop[0].stop, dtype=np.float32) + (0.5 - pose.y)
    dx = np.arange(crop[1].start, crop[1].stop, dtype=np.float32) + (0.5 - pose.x)
    a, b = pose.radius * pose.squeeze[0], pose.radius * pose.squeeze[1]
    u = dx * (pose.cos / a) + (dy * (pose.sin / a))[:, None]
    v = dx * (-pose.sin / b) + (dy * (pose.cos / b))[:, None]
    return u, v


def _texture_grid(crop: Crop, size: int, uniform: Uniform) -> tuple[np.ndarray, np.ndarray]:
    return _grid(_any_pose(size, 1.0, 1.0, uniform), crop)


def _paint(image: np.ndarray, crop: Crop, distance: np.ndarray, fill: np.ndarray) -> None:
    """Paint `fill`, (3, h, w) or (3, 1, 1), where the distance is negative, with a soft edge."""
    region = image[:, crop[0], crop[1]]
    cover = np.minimum(np.maximum(0.5 - distance, 0.0), 1.0)
    region += cover * (fill - region)


def _draw_line(image: np.ndarray, max_width: float, uniform: Uniform) -> None:
    size = image.shape[1]
    pose = _any_pose(size, 0.1, 0.4, uniform)
    crop = _crop(pose, size)
    u, v = _grid(pose, crop)
    half_width = max(0.6, size * uniform(0.005, max_width))
    distance = np.maximum((np.abs(u) - 1.0) * pose.radius, np.abs(v) * pose.radius - half_width)
    _paint(image, crop, distance, colour(random_rgb(uniform)))


def _draw_fragment(image: np.ndarray, uniform: Uniform) -> None:
    """Draw half of a small silhouette of any class, so that no corner or arc reveals the class."""
    size = image.shape[1]
    silhouette = SILHOUETTES[CLASSES[int(uniform(0, len(CLASSES)))]]
    pose = _any_pose(size, 0.05, 0.1, uniform)
    crop = _crop(pose, size)
    u, v = _grid(pose, crop)
    cut = u - uniform(-0.2, 0.2) if uniform(0, 1) < 0.5 else v - uniform(-0.2, 0.2)
    distance = np.maximum(silhouette(u, v), cut) * pose.radius
    _paint(image, crop, distance, colour(random_rgb(uniform)))
