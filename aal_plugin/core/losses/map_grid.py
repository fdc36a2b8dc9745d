"""The grid on which the student's maps and the teacher's are compared.

# B batch, M heads of a block, h w map grid (P×P in the paper)
"""

from __future__ import annotations

from collections.abc import Sequence
from numbers import Integral

from torch import Tensor


def as_grid(size: int | Sequence[int] | None, key: str = "map_size") -> tuple[int, int] | None:
    """The grid (h, w) of a setting.

    Args:
        size: a side, (h, w) or None.
        key: the config's name of the setting, for the error.

    Raises:
        ValueError: not a grid, or a grid of one position: a map of one number, divided by its
            norm, is always 1 or -1.

    Example:
        >>> as_grid(14), as_grid((7, 14)), as_grid(None)
        ((14, 14), (7, 14), None)
    """
    if size is None:
        return None
    grid = tuple(size) if isinstance(size, Sequence) else (size, size)
    whole = all(isinstance(side, Integral) and not isinstance(side, bool) for side in grid)
    if len(grid) != 2 or not whole or min(grid) < 1 or grid[0] * grid[1] < 2:
        raise ValueError(
            f"{key}={size!r}; choose a positive side, (h, w), or None; a grid needs at least two "
            "positions"
        )
    return int(grid[0]), int(grid[1])


def map_grid(maps: Sequence[Tensor], fallback: int = 14) -> tuple[int, int]:
    """The grid that all maps share, or `fallback` × `fallback` if they have several.

    Args:
        maps: attention maps of every student block, (B, M, h, w) each.

    Example:
        >>> import torch
        >>> map_grid([torch.rand(1, 3, 7, 7)] * 2)
        (7, 7)
    """
    grids = {(block.shape[-2], block.shape[-1]) for block in maps}
    return grids.pop() if len(grids) == 1 else (fallback, fallback)
