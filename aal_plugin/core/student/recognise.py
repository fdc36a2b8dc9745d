"""Recognises modules by their classes, and checks image sizes, for the families."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import partial
from typing import Any

import torch
from torch import nn

from .sources import Foreign


def is_a(module: Foreign, *class_paths: str) -> bool:
    """Whether one of the module's classes has such a dotted path, without importing its package.

    Example:
        >>> is_a(nn.Conv2d(1, 1, 1), "torch.nn.modules.conv._ConvNd")
        True
    """
    return any(f"{c.__module__}.{c.__qualname__}" in class_paths for c in type(module).__mro__)


def attentions_of(
    blocks: Iterable[nn.Module], *class_paths: str, name: str = "attn"
) -> list[Foreign] | None:
    """The modules `name` of the blocks, or None if one is of another class.

    A subclass counts only if its forward method is that of the class.

    Example:
        >>> block = nn.ModuleDict(dict(attn=nn.Linear(2, 2)))
        >>> attentions_of([block], "torch.nn.modules.linear.Linear")
        [Linear(in_features=2, out_features=2, bias=True)]
    """
    attentions = [getattr(block, name, None) for block in blocks]
    found = [attn for attn in attentions if attn is not None and computes_as(attn, *class_paths)]
    return found if found and len(found) == len(attentions) else None


def computes_as(module: Foreign, *class_paths: str) -> bool:
    """Whether a module is of such a class, and its forward method is that of the class.

    Example:
        >>> computes_as(nn.Linear(2, 2), "torch.nn.modules.linear.Linear")
        True
    """
    for kind in type(module).__mro__:
        if f"{kind.__module__}.{kind.__qualname__}" in class_paths:
            return getattr(type(module), "forward", None) is getattr(kind, "forward", None)
    return False


@torch.no_grad()
def own_scale(attn: Foreign) -> float:
    """The factor that MMPretrain's attention module puts on the product of queries and keys.

    It is measured, since the settings do not show it: MMPretrain's attention divides by its
    `qk_scale` 1/√D, so T2T-ViT's blocks compute q·k·√D. One query and two keys of product 0 and
    1/√D weigh their values 1 to exp(scale/√D).

    Example:
        >>> attn = nn.Module()
        >>> attn.head_dims = 4
        >>> attn.scaled_dot_product_attention = nn.functional.scaled_dot_product_attention
        >>> round(own_scale(attn), 6)
        0.5
    """
    width = attn.head_dims
    kind: dict[str, Any] = dict(dtype=torch.float64, device="cpu")
    query, key = (torch.zeros(1, 1, tokens, width, **kind) for tokens in (1, 2))
    query[..., 0], key[..., 1, 0] = 1.0, width**-0.5
    values = torch.eye(2, **kind)[None, None]
    weights = attn.scaled_dot_product_attention(query, key, values, dropout_p=0.0).flatten()
    return float((weights[1] / weights[0]).log() * width**0.5)


def any_size(height: int, width: int) -> None:
    """The check of a student that accepts images of any size.

    Example:
        >>> any_size(17, 23)
    """


def divides(patch_conv: nn.Conv2d) -> Callable[[int, int], None]:
    """The check that a convolution's patches divide an image of (H, W) pixels.

    Example:
        >>> divides(nn.Conv2d(3, 8, 4, 4))(16, 24)
    """
    return partial(check_divides, patch_conv)


def check_divides(patch_conv: nn.Conv2d, height: int, width: int) -> None:
    """As `check_patch`, for the patches of a convolution; overlapping patches fit any image.

    Example:
        >>> check_divides(nn.Conv2d(3, 8, 4, 4), 16, 24)
    """
    if patch_conv.stride == patch_conv.kernel_size:
        patch_h, patch_w = patch_conv.kernel_size
        check_patch((patch_h, patch_w), height, width)


def check_patch(patch: tuple[int, int], height: int, width: int) -> None:
    """Check that patches divide an image of (H, W) pixels.

    Raises:
        ValueError: they do not; sizes nearby are named.

    Example:
        >>> check_patch((4, 4), 16, 24)
    """
    patch_h, patch_w = patch
    if height % patch_h or width % patch_w:
        raise ValueError(
            f"images of {height}×{width} pixels: the student's patch of {patch_h}×{patch_w} "
            "does not divide them, so attention maps and activation maps would not line up; "
            f"choose multiples, such as {_nearest(height, patch_h)}×{_nearest(width, patch_w)}"
        )


def _nearest(length: int, patch: int) -> int:
    return max(1, round(length / patch)) * patch
