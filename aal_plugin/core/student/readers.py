"""What is watched in a student's blocks, and how attention maps are read from it.

# B batch, T tokens, M heads, h w patch grid
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import partial
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from .maps import (
    Windows,
    attention_received,
    input_class_token_attention,
    qkv_attention_received,
    qkv_class_token_attention,
    window_attention_received,
)


class Source(NamedTuple):
    """A module, and what of its call is kept: `select(inputs, output)`."""

    module: nn.Module
    select: Callable[[tuple, Any], Any]


class BlockReader(NamedTuple):
    """One block: what is watched of its attention, and how maps are read from that.

    `attention` is the module that holds the weights, `weights` what is kept of it, `grid` keeps
    (h, w), and `read` makes maps (B, M, h, w) of the two. `block` puts out the tokens, of which
    `num_prefix_tokens` are no patches; it is None where it is not known.
    """

    attention: nn.Module
    weights: Source
    grid: Source
    num_heads: int
    read: Callable[[Any, tuple[int, int]], Tensor]
    block: nn.Module | None
    num_prefix_tokens: int


class StudentReader(NamedTuple):
    """What a student exposes: a reader for each block, in their order.

    `image_size` is the (H, W) that the student was built for, or None where it takes any;
    `check(H, W)` raises ValueError where the student cannot show its attention on such images.
    """

    blocks: list[BlockReader]
    image_size: tuple[int, int] | None
    check: Callable[[int, int], None]


def whole_output(inputs: tuple, output: Any) -> Any:
    return output


def first_input(inputs: tuple, output: Any) -> Any:
    return inputs[0]


def second_input(inputs: tuple, output: Any) -> Any:
    return inputs[1]


def output_grid(inputs: tuple, output: Tensor) -> tuple[int, int]:
    """(h, w) of an output (B, C, h, w)."""
    return tuple(output.shape[-2:])


def input_grid(inputs: tuple, output: Any) -> tuple[int, int]:
    """(h, w) of an input (B, h, w, C)."""
    return tuple(inputs[0].shape[1:3])


def qkv_reader(
    attn: nn.Module,
    grid: Source,
    num_prefix_tokens: int,
    scale: float,
    class_token: bool = True,
    block: nn.Module | None = None,
    **norms: nn.Module | None,
) -> BlockReader:
    """Attention from the output (B, T, 3·M·D) of a block's `qkv` projection.

    It costs nothing to keep, fused attention stays on, and blocks under gradient checkpointing
    recompute exactly what they would without it.
    """
    read = partial(
        qkv_class_token_attention if class_token else qkv_attention_received,
        num_heads=attn.num_heads,
        num_prefix_tokens=num_prefix_tokens,
        scale=scale,
        **norms,
    )
    kept = Source(attn.qkv, whole_output)
    return BlockReader(attn, kept, grid, attn.num_heads, read, block, num_prefix_tokens)


def input_reader(
    attn: nn.Module, grid: Source, num_prefix_tokens: int, block: nn.Module | None = None
) -> BlockReader:
    """Class-token attention from the input of a block whose `qkv` is used by its weight alone."""
    read = partial(input_class_token_attention, attn=attn, num_prefix_tokens=num_prefix_tokens)
    kept = Source(attn, first_input)
    return BlockReader(attn, kept, grid, attn.num_heads, read, block, num_prefix_tokens)


def matrix_reader(
    attn: nn.Module,
    grid: Source,
    num_prefix_tokens: int,
    class_token: bool,
    block: nn.Module | None = None,
) -> BlockReader:
    """Attention from the softmax weights (B, M, T, T) that enter a block's `attn_drop`."""
    read = partial(attention_received, num_prefix_tokens=num_prefix_tokens, class_token=class_token)
    kept = Source(attn.attn_drop, first_input)
    return BlockReader(attn, kept, grid, attn.num_heads, read, block, num_prefix_tokens)


def window_reader(
    attn: nn.Module,
    grid: Source,
    windows: Callable[[tuple[int, int]], Windows],
    block: nn.Module | None = None,
) -> BlockReader:
    """Attention received, from the softmax weights of windows that enter a block's `attn_drop`.

    `windows` tells how the block cuts its grid (h, w) into windows.
    """
    read = partial(_read_windows, windows=windows)
    kept = Source(attn.attn_drop, first_input)
    return BlockReader(attn, kept, grid, attn.num_heads, read, block, 0)


def _read_windows(
    weights: Tensor, grid: tuple[int, int], windows: Callable[[tuple[int, int]], Windows]
) -> Tensor:
    return window_attention_received(weights, windows(grid))


def is_a(module: Any, *class_paths: str) -> bool:
    """Whether a class of that dotted path is among the module's, without importing its package."""
    return any(f"{c.__module__}.{c.__qualname__}" in class_paths for c in type(module).__mro__)


def attentions_of(blocks: Iterable[nn.Module], *class_paths: str) -> list[nn.Module] | None:
    """The blocks' `attn` modules, or None where one is of another class."""
    attentions = [getattr(block, "attn", None) for block in blocks]
    return attentions if all(_computes_as(attn, *class_paths) for attn in attentions) else None


def _computes_as(attn: Any, *class_paths: str) -> bool:
    """Whether a module is of such a class, and its forward pass is that class's own."""
    for kind in type(attn).__mro__:
        if f"{kind.__module__}.{kind.__qualname__}" in class_paths:
            return type(attn).forward is kind.forward
    return False


@torch.no_grad()
def own_scale(attn: nn.Module) -> float:
    """The factor that MMPretrain's attention module puts on the product of queries and keys.

    The module is asked, for its settings do not tell: MMPretrain's attention divides by its
    `qk_scale` 1/√D, so T2T-ViT's blocks compute q·k·√D. One query and two keys of product 0 and
    1/√D weigh their values 1 to exp(scale/√D).
    """
    width = attn.head_dims
    kind = dict(dtype=torch.float64, device="cpu")
    query, key = (torch.zeros(1, 1, tokens, width, **kind) for tokens in (1, 2))
    query[..., 0], key[..., 1, 0] = 1.0, width**-0.5
    values = torch.eye(2, **kind)[None, None]
    weights = attn.scaled_dot_product_attention(query, key, values, dropout_p=0.0).flatten()
    return (weights[1] / weights[0]).log().item() * width**0.5


def any_size(height: int, width: int) -> None:
    pass


def divides(patch_conv: nn.Conv2d) -> Callable[[int, int], None]:
    return partial(check_divides, patch_conv)


def check_divides(patch_conv: nn.Conv2d, height: int, width: int) -> None:
    if patch_conv.stride == patch_conv.kernel_size:
        check_patch(patch_conv.kernel_size, height, width)


def check_patch(patch: tuple[int, int], height: int, width: int) -> None:
    patch_h, patch_w = patch
    if height % patch_h or width % patch_w:
        raise ValueError(
            f"images of {height}×{width} pixels: the student's patch of {patch_h}×{patch_w} "
            "does not divide them, and attention and activation maps would not line up; "
            f"choose multiples, such as {_nearest(height, patch_h)}×{_nearest(width, patch_w)}"
        )


def _nearest(length: int, patch: int) -> int:
    return max(1, round(length / patch)) * patch
