"""The families that AAL knows, and how they recognise modules by their classes."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import nn

from .readers import StudentReader
from .recorder import Foreign

Family = Callable[[Foreign], StudentReader]


class OtherAttention(Exception):
    """A module is of a family, and its blocks compute their attention in another way."""


# Names of families for people; and by dotted class path, the functions that read such a module.
NAMES: list[str] = []
READERS: dict[str, Family] = {}


def family(name: str, *class_paths: str) -> Callable[[Family], Family]:
    """Decorate the function that reads a family's modules: those of such classes or subclasses.

    The function raises `OtherAttention` for a module whose blocks compute theirs in another way.

    Example:
        >>> @family("my ViT", "lab.models.MyViT")
        ... def my_vit(module):
        ...     raise OtherAttention
        >>> NAMES.remove("my ViT"), READERS.pop("lab.models.MyViT") is my_vit
        (None, True)
    """

    def register(read: Family) -> Family:
        NAMES.append(name)
        READERS.update(dict.fromkeys(class_paths, read))
        return read

    return register


def class_paths_of(module: Foreign) -> list[str]:
    """The dotted paths of a module's classes, its own first; no package is imported for them."""
    return [f"{kind.__module__}.{kind.__qualname__}" for kind in type(module).__mro__]


def is_a(module: Foreign, *class_paths: str) -> bool:
    """Whether one of the module's classes has such a dotted path."""
    return any(path in class_paths for path in class_paths_of(module))


def computes_as(module: Foreign, *class_paths: str) -> bool:
    """Whether a module is of such a class, and its forward method is that of the class."""
    for kind, path in zip(type(module).__mro__, class_paths_of(module)):
        if path in class_paths:
            return getattr(type(module), "forward", None) is getattr(kind, "forward", None)
    return False


def attentions_of(blocks: Iterable[nn.Module], *class_paths: str) -> list[Foreign]:
    """The modules `attn` of the blocks.

    Raises:
        OtherAttention: one of them does not compute as such a class does.
    """
    attentions = [getattr(block, "attn", None) for block in blocks]
    if not all(computes_as(attn, *class_paths) for attn in attentions):
        raise OtherAttention
    return attentions


def patch_of(conv: nn.Conv2d) -> tuple[int, int] | None:
    """The (h, w) in pixels of a convolution's patches; None if they overlap, as any size fits then.

    Example:
        >>> patch_of(nn.Conv2d(3, 8, 4, 4)), patch_of(nn.Conv2d(3, 8, 3, 2))
        ((4, 4), None)
    """
    height, width = conv.kernel_size
    return (height, width) if conv.stride == conv.kernel_size else None


@torch.no_grad()
def own_scale(attn: Foreign) -> float:
    """The factor that MMPretrain's attention module puts on the product of queries and keys.

    It is measured, since the settings do not show it: MMPretrain's attention divides by its
    `qk_scale` 1/√D, so T2T-ViT's blocks compute q·k·√D. One query and two keys of product 0 and
    1/√D weigh their values 1 to exp(scale/√D).
    """
    width = attn.head_dims
    kind: dict[str, Any] = dict(dtype=torch.float64, device="cpu")
    query, key = (torch.zeros(1, 1, tokens, width, **kind) for tokens in (1, 2))
    query[..., 0], key[..., 1, 0] = 1.0, width**-0.5
    values = torch.eye(2, **kind)[None, None]
    weights = attn.scaled_dot_product_attention(query, key, values, dropout_p=0.0).flatten()
    return float((weights[1] / weights[0]).log() * width**0.5)
