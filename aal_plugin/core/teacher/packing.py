"""A teacher's maps in few bits a value.

# B batch, C channels of a level, h w that level's kept grid
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import accumulate, pairwise
from math import prod

import numpy as np
import torch
from torch import Tensor

Shape = tuple[int, int, int]


class Packing:
    """Turns maps into bytes: each value between its map's smallest and largest one.

    Those two are kept beside it in float32, so both a map's shape and its size come back.

    Args:
        shapes: (C, h, w) of each level.
        bits: of a value: 4, 8 or 16.

    Attributes:
        size: bytes of the maps of one image.

    Example:
        >>> packing = Packing([(3, 4, 4)], bits=4)
        >>> entries = packing.packed([torch.rand(2, 3, 4, 4)])
        >>> entries.shape, packing.unpacked(torch.from_numpy(entries))[0].shape
        ((2, 48), torch.Size([2, 3, 4, 4]))
    """

    def __init__(self, shapes: Sequence[Sequence[int]], bits: int = 8) -> None:
        check_bits("bits", bits)
        self.bits = bits
        self.shapes: list[Shape] = [(int(c), int(h), int(w)) for c, h, w in shapes]
        self._maps = sum(shape[0] for shape in self.shapes)
        self._values = sum(prod(shape) for shape in self.shapes)
        self.size = 8 * self._maps + -(-self._values * bits // 8)

    def packed(self, maps: Sequence[Tensor]) -> np.ndarray:
        """Maps (B, C, h, w) of each level → bytes (B, size)."""
        top = 2**self.bits - 1
        bounds, values = [], []
        for level in maps:
            flat = level.detach().float().flatten(2)
            low, high = flat.amin(-1), flat.amax(-1)
            step = (high - low) / top
            floor = torch.finfo(torch.float32).tiny  # a constant map has no step
            scaled = (flat - low[..., None]) / step.clamp_min(floor)[..., None]
            bounds.append(torch.stack((low, step), dim=-1))  # (B, C, 2)
            values.append(scaled.round().clamp(0, top).to(torch.int32).flatten(1))
        whole = torch.cat(values, dim=1)
        if self.bits == 4:
            whole = torch.nn.functional.pad(whole, (0, self._values % 2))
            whole = whole[:, ::2] * 16 + whole[:, 1::2]
        body = whole.cpu().numpy().astype("<u2" if self.bits == 16 else np.uint8)
        ends = torch.cat(bounds, dim=1).flatten(1).cpu().numpy()
        return np.concatenate([ends.view(np.uint8), body.view(np.uint8)], axis=1)

    def unpacked(self, entries: Tensor) -> list[Tensor]:
        """Bytes (B, size) → maps (B, C, h, w) of each level, float32, on the entries' device."""
        count = len(entries)
        bounds = entries[:, : 8 * self._maps].contiguous().view(torch.float32)
        bounds = bounds.view(count, self._maps, 2)
        body = entries[:, 8 * self._maps :]
        if self.bits == 4:
            body = torch.stack((body >> 4, body & 15), dim=-1).flatten(1)
        elif self.bits == 16:  # older torch has no unsigned type of 16 bits
            body = body[:, ::2].float() + 256 * body[:, 1::2].float()
        ends = accumulate((prod(shape) for shape in self.shapes), initial=0)
        channels = accumulate((shape[0] for shape in self.shapes), initial=0)
        maps = []
        for (start, end), (first, last), shape in zip(
            pairwise(ends), pairwise(channels), self.shapes
        ):
            low, step = bounds[:, first:last].unbind(-1)
            level = body[:, start:end].float().view(count, shape[0], -1)
            level = torch.addcmul(low[..., None], level, step[..., None])
            maps.append(level.view(count, *shape))
        return maps


def kept_shapes(
    maps: Sequence[Tensor], grid: tuple[int, int] | None = None
) -> list[tuple[int, int, int]]:
    """(C, h, w) of each level, no larger than the grid on which maps are compared.

    Example:
        >>> kept_shapes([torch.zeros(1, 8, 56, 56), torch.zeros(1, 16, 7, 7)], grid=(14, 14))
        [(8, 14, 14), (16, 7, 7)]
    """
    shapes = []
    for level in maps:
        channels, height, width = level.shape[1:]
        smaller = grid is not None and (height > grid[0] or width > grid[1])
        shapes.append((channels, *grid) if smaller and grid else (channels, height, width))
    return shapes


def check_bits(key: str, bits: int) -> None:
    """Raise ValueError, naming the config key, if values cannot be kept in so many bits."""
    if type(bits) is not int or bits not in (4, 8, 16):
        raise ValueError(f"{key}={bits!r}; choose 4, 8 or 16")
