"""The families that AAL knows, and how they recognise modules by their classes."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING

from torch import nn

from .recorder import Foreign

if TYPE_CHECKING:
    from .readers import StudentReader

Family = Callable[[Foreign], "StudentReader"]


class OtherAttention(Exception):
    """A module is of a family, and its blocks compute their attention in another way."""


# Names of families for people; and by dotted class path, the functions that read such a module.
NAMES: list[str] = []
READERS: dict[str, Family] = {}


def family(name: str, *class_paths: str) -> Callable[[Family], Family]:
    """Decorate the function that reads a family's modules: those of such classes or subclasses.

    The function raises `OtherAttention` for a module whose blocks compute theirs in another way.
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


def attentions_of(blocks: Iterable[nn.Module], *class_paths: str) -> list[tuple[Foreign, Foreign]]:
    """(attn, block) of each block with its module `attn`.

    Raises:
        OtherAttention: one of the modules does not compute as such a class does.
    """
    pairs = [(getattr(block, "attn", None), block) for block in blocks]
    if not all(computes_as(attn, *class_paths) for attn, _ in pairs):
        raise OtherAttention
    return pairs


def patch_of(conv: nn.Conv2d) -> tuple[int, int] | None:
    """The (h, w) in pixels of a convolution's patches; None if they overlap: any size fits then."""
    height, width = conv.kernel_size
    return (height, width) if conv.stride == conv.kernel_size else None
