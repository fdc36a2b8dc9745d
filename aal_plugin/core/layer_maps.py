"""The output of a layer as (B, C, h, w) maps.

# B batch, T tokens, N patch tokens, C channels, h w grid of a layer, H W image size
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from torch import Tensor

# A class token, a distillation token and registers: no published model has more.
_MOST_PREFIX_TOKENS = 16
_Size = tuple[int, int]


def as_map(
    output: Any,
    fmt: str,
    image_size: _Size,
    layer: str,
    num_prefix_tokens: int | None = None,
) -> Tensor:
    """The output of a layer as (B, C, h, w), a view of it.

    The first entry of a list is used, as timm does (SelecSLS returns [map, skip]), and the last
    map or token tensor of a tuple (MMPretrain's backbones return one map per stage, its Swin
    stages return tokens and their grid). Patch tokens (B, T, C) return to their grid, row by row,
    without the prefix tokens ahead of them. The image's aspect ratio shows where the channels are
    and how high and wide the grid is: the grid keeps the ratio.

    Args:
        fmt: 'NCHW', or 'NHWC' if a timm model says so in `output_fmt`.
        image_size: (H, W) of the model's images.
        layer: the layer's name in error messages.
        num_prefix_tokens: tokens ahead of the patches; None: as few as leave a full grid.

    Example:
        >>> import torch
        >>> tokens = torch.zeros(2, 1 + 4 * 6, 8)  # a class token and 4 × 6 patches
        >>> as_map(tokens, "NCHW", (64, 96), "blocks.0").shape
        torch.Size([2, 8, 4, 6])
        >>> as_map(torch.zeros(2, 4, 6, 8), "NHWC", (64, 96), "stages.0").shape
        torch.Size([2, 8, 4, 6])
    """
    tensor = _tensor_of(output)
    if tensor is not None and tensor.dim() == 3:
        return _patches_as_map(tensor, image_size, layer, num_prefix_tokens)
    if tensor is None or tensor.dim() != 4:
        raise ValueError(
            f"{layer} returns {_described(output)}; expected (B, C, h, w) or (B, h, w, C) maps, or "
            "patch tokens (B, T, C). Choose a layer ahead of the pooling and the classifier, or "
            "an item of its output, such as 'NAME[0]'"
        )
    shape = tuple(tensor.shape)
    if fmt == "NHWC" and _keeps_ratio(shape[1:3], image_size):
        return tensor.permute(0, 3, 1, 2)
    if fmt != "NHWC" and has_channels_last(tensor, image_size):
        raise ValueError(
            f"{layer} returns {shape} for images of {image_size[0]}×{image_size[1]} pixels; "
            "its channels seem to come last, expected (B, C, h, w) maps. Set output_fmt = 'NHWC' "
            "on the model, or choose another layer"
        )
    return tensor


def has_channels_last(output: Any, image_size: _Size) -> bool:
    """Whether an output can only be (B, h, w, C): those axes alone keep the ratio of (H, W)."""
    tensor = _tensor_of(output)
    if tensor is None or tensor.dim() != 4:
        return False
    shape = tuple(tensor.shape)
    return _keeps_ratio(shape[1:3], image_size) and not _keeps_ratio(shape[2:], image_size)


def prefix_tokens(output: Any, image_size: _Size, expected: int | None = None) -> int | None:
    """How many tokens of (B, T, C) are ahead of the patches, or None for no grid of tokens.

    The number that the model states, `expected`, is used if the other tokens fill a grid: the
    blocks of CaiT run before the class token is added.

    Example:
        >>> import torch
        >>> prefix_tokens(torch.zeros(1, 201, 8), (224, 224))  # 14 × 14, class token, 4 registers
        5
    """
    tensor = _tensor_of(output)
    if tensor is None or tensor.dim() != 3:
        return None
    tokens = tensor.shape[1]
    if expected is not None and _patch_grid(tokens - expected, image_size):
        return expected
    for number in range(_MOST_PREFIX_TOKENS + 1):
        if _patch_grid(tokens - number, image_size, exact=True):
            return number
    # A patch may have been cut off at a border.
    return next((n for n in (0, 1) if _patch_grid(tokens - n, image_size)), None)


def item_of(output: Any, item: str | None, layer: str) -> Any:
    """One entry, by key or position, of what a layer returned; None: the whole output.

    Example:
        >>> item_of(["a", "b"], "1", "stage4"), item_of({"out": "a"}, "out", "backbone")
        ('b', 'a')
    """
    keyed = isinstance(output, Mapping)
    if item is None and keyed:
        raise ValueError(
            f"{layer} returns a dict with the keys {list(output)}; choose one, such as "
            f"'NAME[{next(iter(output), 'KEY')}]'"
        )
    if item is None or (keyed and item in output):
        return output if item is None else output[item]
    entries: Any = list(output.values()) if keyed else output
    count = len(entries) if isinstance(entries, (list, tuple)) else 0
    if not item.lstrip("-").isdigit() or not -count <= int(item) < count:
        raise ValueError(f"{layer} has no item [{item}]; it returns {_described(output)}")
    return entries[int(item)]


def _tensor_of(output: Any) -> Tensor | None:
    """The tensor of an output that may be a list or tuple."""
    if isinstance(output, list):
        output = output[0] if output else None
    elif isinstance(output, tuple):
        tensors = [entry for entry in output if isinstance(entry, Tensor)]
        found = [t for t in tensors if t.dim() == 4] or [t for t in tensors if t.dim() == 3]
        output = found[-1] if found else None
    return output if isinstance(output, Tensor) else None


def _patches_as_map(
    tokens: Tensor, image_size: _Size, layer: str, num_prefix_tokens: int | None
) -> Tensor:
    number = num_prefix_tokens
    if number is None:
        number = prefix_tokens(tokens, image_size)
    grid = None if number is None else _patch_grid(tokens.shape[1] - number, image_size)
    if grid is None:
        ahead = "" if num_prefix_tokens is None else f" {num_prefix_tokens} prefix tokens and"
        raise ValueError(
            f"{layer} returns {tuple(tokens.shape)}; its {tokens.shape[1]} tokens are not{ahead} a "
            f"grid of patches of an image of {image_size[0]}×{image_size[1]} pixels. Choose a "
            "layer that returns patch tokens row by row, or give num_prefix_tokens"
        )
    patches = tokens[:, number:].mT
    return patches.reshape(*patches.shape[:2], *grid)


def _patch_grid(patches: int, image_size: _Size, exact: bool = False) -> _Size | None:
    """(h, w) with h·w patches and the image's ratio: to one position, or exactly."""
    if patches < 1:
        return None
    height, width = image_size
    near = round(math.sqrt(patches * height / width))
    rows = [row for row in range(max(1, near - 2), near + 3) if patches % row == 0]
    off = {row: abs(row * width - patches // row * height) for row in rows}
    best = min(rows, key=off.__getitem__, default=None)
    if best is None or off[best] > (0 if exact else max(image_size)):
        return None
    return best, patches // best


def _keeps_ratio(grid: Sequence[int], image_size: _Size) -> bool:
    """Whether (h, w) is an image's grid, to one position that rounding may add."""
    height, width = image_size
    return abs(grid[0] * width - grid[1] * height) <= max(height, width)


def _described(output: Any) -> str:
    if isinstance(output, Tensor):
        return str(tuple(output.shape))
    if isinstance(output, Mapping):
        return f"a dict with the keys {list(output)}"
    if isinstance(output, (list, tuple)):
        return f"a {type(output).__name__} of {len(output)}: " + ", ".join(map(_described, output))
    return f"a {type(output).__name__}"
