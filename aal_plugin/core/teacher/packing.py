"""A teacher's maps in few bits a value.

Each value lies between its map's smallest and largest one. Those two are kept beside the values in
float32, so both a map's shape and its size come back.

# B batch, C channels of a level, h w that level's kept grid
"""

from __future__ import annotations

from collections.abc import Sequence
from math import prod

import numpy as np
import torch
from torch import Tensor

Shape = tuple[int, int, int]


def check_bits(key: str, bits: int) -> None:
    """Raise ValueError, naming the config key, if values cannot be kept in so many bits."""
    if type(bits) is not int or bits not in (4, 8, 16):
        raise ValueError(f"{key}={bits!r}; choose 4, 8 or 16")


def packed_size(shapes: Sequence[Shape], bits: int = 8) -> int:
    """Bytes of the maps of one image, whose levels have these (C, h, w).

    Example:
        >>> packed_size([(3, 4, 4)], bits=4)
        48
    """
    return 8 * sum(shape[0] for shape in shapes) + -(-sum(map(prod, shapes)) * bits // 8)


def packed(maps: Sequence[Tensor], bits: int = 8) -> np.ndarray:
    """Maps (B, C, h, w) of each level → bytes (B, `packed_size`).

    Example:
        >>> entries = packed([torch.rand(2, 3, 4, 4)], bits=4)
        >>> entries.shape, unpacked(torch.from_numpy(entries), [(3, 4, 4)], bits=4)[0].shape
        ((2, 48), torch.Size([2, 3, 4, 4]))
    """
    top = 2**bits - 1
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
    if bits == 4:
        whole = torch.nn.functional.pad(whole, (0, whole.shape[1] % 2))
        whole = whole[:, ::2] * 16 + whole[:, 1::2]
    body = whole.cpu().numpy().astype("<u2" if bits == 16 else np.uint8)
    ends = torch.cat(bounds, dim=1).flatten(1).cpu().numpy()
    return np.concatenate([ends.view(np.uint8), body.view(np.uint8)], axis=1)


def unpacked(entries: Tensor, shapes: Sequence[Shape], bits: int = 8) -> list[Tensor]:
    """Bytes (B, `packed_size`) → maps (B, C, h, w) of each level, float32, on their device."""
    channels = [shape[0] for shape in shapes]
    ends = 8 * sum(channels)
    bounds = entries[:, :ends].contiguous().view(torch.float32).unflatten(1, (-1, 2))
    body = entries[:, ends:]
    if bits == 4:
        body = torch.stack((body >> 4, body & 15), dim=-1).flatten(1)
        body = body[:, : sum(map(prod, shapes))]  # an odd number of values was padded
    elif bits == 16:  # older torch has no unsigned type of 16 bits
        body = body[:, ::2].float() + 256 * body[:, 1::2].float()
    levels = zip(body.split([*map(prod, shapes)], dim=1), bounds.split(channels, dim=1), shapes)
    maps = []
    for level, bound, (count, height, width) in levels:
        low, step = bound[..., None].unbind(2)  # (B, C, 1) each
        level = torch.addcmul(low, level.float().unflatten(1, (count, -1)), step)
        maps.append(level.unflatten(2, (height, width)))
    return maps
