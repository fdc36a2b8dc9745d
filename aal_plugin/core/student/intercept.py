"""A trial run of a student that intercepts the factors of its products with values.

# B batch, T tokens, M heads, h w patch grid
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode

from .readers import BlockReader
from .sources import Source

IMAGES = 2


class Trial(NamedTuple):
    """What one attention module did in a trial run.

    Attributes:
        products: left factors of its batched products, (…, T, T) or (…, 1, T).
        values: for each of its readers, the values of the sources, and the grid; None for a source
            that did not run.

    Example:
        >>> Trial([], []).products
        []
    """

    products: list[Tensor]
    values: list[tuple[list[Any], tuple[int, int] | None]]


def run_trial(twin: nn.Module, candidates: Sequence[list[BlockReader]]) -> list[Trial] | None:
    """Run a student on random images; None if no common image size fits.

    Args:
        twin: the student, in eval mode.
        candidates: the readers of each of its attention modules.

    Example:
        >>> import timm
        >>> from aal_plugin.core.student.families import find_reader
        >>> twin = timm.create_model("test_vit").eval()
        >>> trials = run_trial(twin, [[block] for block in find_reader(twin).blocks])
        >>> trials[0].products[-1].shape  # 2 images × 2 heads, a class token and 100 patches
        torch.Size([4, 101, 101])
    """
    for size in _sizes(twin):
        products: list[list[Tensor]] = [[] for _ in candidates]
        within: list[int] = []
        stores: dict[Source, list[Any]] = {}
        with ExitStack() as hooks:
            for number, readers in enumerate(candidates):
                attention = readers[0].attention
                handles = [
                    attention.register_forward_pre_hook(_enter(within, number)),
                    attention.register_forward_hook(_leave(within)),
                ]
                for source in {s for reader in readers for s in (*reader.sources, reader.grid)}:
                    if source not in stores:
                        stores[source] = []
                        store = _store(stores[source], source)
                        handles.append(source.module.register_forward_hook(store, with_kwargs=True))
                for handle in handles:
                    hooks.callback(handle.remove)
            parameter = next(twin.parameters())
            generator = torch.Generator().manual_seed(1)
            images = torch.randn(IMAGES, 3, *size, generator=generator).to(parameter.device)
            try:
                with torch.no_grad(), _Unfused(), _Products(within, products):
                    twin(images)
            except Exception:  # a size may be wrong for a student, each in a way of its own
                continue
        return [
            Trial(found, [_values(reader, stores) for reader in readers])
            for found, readers in zip(products, candidates)
        ]
    return None


def _values(
    reader: BlockReader, stores: dict[Source, list[Any]]
) -> tuple[list[Any], tuple[int, int] | None]:
    *values, grid = (
        stores[source][-1] if stores[source] else None for source in (*reader.sources, reader.grid)
    )
    return values, grid


def _store(values: list[Any], source: Source) -> Callable[..., None]:
    def hook(module: nn.Module, args: Any, kwargs: Any, output: Any) -> None:
        values.append(source.select(args, kwargs, output))

    return hook


def _enter(within: list[int], number: int) -> Callable[..., None]:
    return lambda module, args: within.append(number)


def _leave(within: list[int]) -> Callable[..., None]:
    def hook(module: nn.Module, args: Any, output: Any) -> None:
        within.pop()

    return hook


def _sizes(student: nn.Module) -> Iterator[tuple[int, int]]:
    """(H, W) that a student may have been built for."""
    for module in student.modules():
        for name in ("img_size", "image_size"):
            size = getattr(module, name, None)
            if isinstance(size, int):
                yield (size, size)
            elif isinstance(size, (tuple, list)) and len(size) == 2:
                yield (size[0], size[1])
    yield from ((64, 64), (224, 224), (256, 256), (384, 384))


class _Unfused(TorchFunctionMode):
    """Computes fused attention step by step, so that its product with the values is visible."""

    def __torch_function__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        if func is F.scaled_dot_product_attention:
            return _attention(*args, **(kwargs or {}))
        return func(*args, **(kwargs or {}))


def _attention(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attn_mask: Tensor | None = None,
    dropout_p: float = 0.0,
    is_causal: bool = False,
    scale: float | None = None,
    enable_gqa: bool = False,
) -> Tensor:
    if enable_gqa:
        groups = query.shape[-3] // key.shape[-3]
        key, value = (t.repeat_interleave(groups, dim=-3) for t in (key, value))
    scores = (query @ key.mT) * (query.shape[-1] ** -0.5 if scale is None else scale)
    if is_causal:
        scores = scores + torch.full_like(scores, float("-inf")).triu(1)
    if attn_mask is not None and attn_mask.dtype == torch.bool:
        scores = scores.masked_fill(~attn_mask, float("-inf"))
    elif attn_mask is not None:
        scores = scores + attn_mask
    return scores.softmax(-1) @ value


class _Products(TorchDispatchMode):
    """Stores the left factor of every batched product that is square or has one row."""

    def __init__(self, within: list[int], products: list[list[Tensor]]) -> None:
        super().__init__()
        self._within, self._products = within, products

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        if func is torch.ops.aten.bmm.default and self._within:
            left = args[0]
            if left.shape[-2] in (1, left.shape[-1]):
                self._products[self._within[-1]].append(left)
        return func(*args, **(kwargs or {}))
