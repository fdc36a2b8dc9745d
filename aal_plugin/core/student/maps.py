"""Queries and keys, or softmax weights, to attention maps.

# B batch, T tokens, M heads, D head channels, N patch tokens, h w patch grid (N = h*w)
# W windows of an image, S positions of a window
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

Norm = Callable[[Tensor], Tensor]


def class_token_attention(
    query: Tensor, key: Tensor, grid: tuple[int, int], scale: float
) -> Tensor:
    """Attention of the class token over the patch tokens alone (AAL, Eq. 3).

    Args:
        query: the class token's query, (B, M, D).
        key: the keys of the patch tokens, row by row of the grid, (B, N, M, D).
        grid: (h, w), h * w = N.
        scale: the block's own factor on the product, 1/√D as in Eq. 2.

    Returns:
        Maps that sum to one over their grid, (B, M, h, w), float32 or wider.

    Raises:
        ValueError: the number of keys is not h * w.
    """
    _check_fills(key.shape[1], grid)
    scores = torch.einsum("bmd,bnmd->bmn", query * scale, key)
    return _softmax(scores).unflatten(-1, grid)


def qkv_class_token_attention(
    qkv: Tensor,
    grid: tuple[int, int],
    num_heads: int,
    num_prefix_tokens: int,
    scale: float,
    query_norm: Norm | None = None,
    key_norm: Norm | None = None,
) -> Tensor:
    """Class-token attention from the output of a block's `qkv` projection (AAL, Eq. 3).

    Only the class token's row of QKᵀ is computed. Prefix tokens other than the class token
    (distillation token, registers) are neither query nor key.

    Args:
        qkv: (B, T, 3·M·D), the class token first, then other prefix tokens, then N patches.
        grid: (h, w).
        num_prefix_tokens: tokens before the patches, the class token included.
        query_norm: applied to the last axis of the query before the product, when the block
            normalises its queries.
        key_norm: likewise for the keys.

    Returns:
        (B, M, h, w).
    """
    query, key = _QueryAndKeys.apply(qkv, num_prefix_tokens)
    query = _normed(query.unflatten(-1, (num_heads, -1)), query_norm)
    key = _normed(key.unflatten(-1, (num_heads, -1)), key_norm)
    return class_token_attention(query, key, grid, scale)


class _QueryAndKeys(torch.autograd.Function):
    """The class token's query (B, M·D) and the patches' keys (B, N, M·D) out of qkv.

    Slicing would do, but the gradient of every slice is a tensor as large as qkv, mostly zeros:
    three of them a block, and their sum, cost more than all links do.
    """

    @staticmethod
    def forward(ctx: Any, qkv: Tensor, num_prefix_tokens: int) -> tuple[Tensor, Tensor]:
        ctx.shape, ctx.num_prefix_tokens = qkv.shape, num_prefix_tokens
        width = qkv.shape[-1] // 3
        return qkv[:, 0, :width], qkv[:, num_prefix_tokens:, width : 2 * width]

    @staticmethod
    def backward(ctx: Any, query_grad: Tensor, key_grad: Tensor) -> tuple[Tensor, None]:
        width = ctx.shape[-1] // 3
        grad = key_grad.new_zeros(ctx.shape)
        grad[:, 0, :width] = query_grad
        grad[:, ctx.num_prefix_tokens :, width : 2 * width] = key_grad
        return grad, None


def input_class_token_attention(
    tokens: Tensor, grid: tuple[int, int], attn: nn.Module, num_prefix_tokens: int
) -> Tensor:
    """Class-token attention from the input of a BEiT attention module (AAL, Eq. 3).

    Such a module uses its `qkv` by the weight alone, with biases of its own, so there is no
    projection to keep. The class token's query is taken back through the keys' weight instead:
    q · (W x) = (Wᵀq) · x, a row for each head rather than all keys once more. What is the same
    for every key of a query cancels in the softmax: the keys' bias, and the relative position
    bias between the class token and the patches, which is one number for each head.

    Args:
        tokens: (B, T, E), the class token first, then other prefix tokens, then N patches.
        grid: (h, w).
        attn: has `qkv.weight` (3·M·D, E), `q_bias` or `qkv.bias`, `num_heads` and `scale`.

    Returns:
        (B, M, h, w).
    """
    _check_fills(tokens.shape[1] - num_prefix_tokens, grid)
    query_weight, key_weight, _ = attn.qkv.weight.chunk(3)
    bias = getattr(attn, "q_bias", None)
    if bias is None and attn.qkv.bias is not None:
        bias = attn.qkv.bias.chunk(3)[0]
    query = F.linear(tokens[:, 0], query_weight, bias).unflatten(-1, (attn.num_heads, -1))
    key_weight = key_weight.unflatten(0, (attn.num_heads, -1))
    pulled_back = torch.einsum("bmd,mde->bme", query * attn.scale, key_weight)
    scores = torch.einsum("bme,bne->bmn", pulled_back, tokens[:, num_prefix_tokens:])
    return _softmax(scores).unflatten(-1, grid)


def qkv_attention_received(
    qkv: Tensor,
    grid: tuple[int, int],
    num_heads: int,
    num_prefix_tokens: int,
    scale: float,
    query_norm: Norm | None = None,
    key_norm: Norm | None = None,
) -> Tensor:
    """Attention that each patch receives from all patches, where there is no class token.

    Arguments and result as in `qkv_class_token_attention`; prefix tokens (registers) are neither
    query nor key. Here the whole of QKᵀ is computed.
    """
    _check_fills(qkv.shape[1] - num_prefix_tokens, grid)
    qkv = qkv[:, num_prefix_tokens:].unflatten(-1, (3, num_heads, -1))
    query, key = _normed(qkv[:, :, 0], query_norm), _normed(qkv[:, :, 1], key_norm)
    scores = torch.einsum("bqmd,bkmd->bmqk", query * scale, key)
    return _softmax(scores).mean(dim=-2).unflatten(-1, grid)


def attention_received(
    weights: Tensor, grid: tuple[int, int], num_prefix_tokens: int, class_token: bool
) -> Tensor:
    """Maps from a block's own softmax weights.

    Args:
        weights: (B, M, T, T), queries before keys, rows summing to one.
        grid: (h, w).
        num_prefix_tokens: tokens before the patches.
        class_token: whether the first token is a class token. Then its row over the patches is
            taken, brought to a sum of one (AAL, Eq. 3); else the mean of the patches' rows.

    Returns:
        (B, M, h, w), float32 or wider.
    """
    patches = slice(num_prefix_tokens, None)
    _check_fills(weights.shape[-1] - num_prefix_tokens, grid)
    weights = _wide(weights[:, :, 0 : 1 if class_token else None, patches])
    if not class_token:
        weights = weights[:, :, patches]
    if num_prefix_tokens:
        # The floor keeps a row finite that has all its weight on the prefix tokens.
        weights = weights / weights.sum(dim=-1, keepdim=True).clamp_min(1e-12)
    return weights.mean(dim=-2).unflatten(-1, grid)


class Windows(NamedTuple):
    """How a block cuts its grid into windows.

    grid: (h, w) of the stage; size: (h, w) of a window; shift: (down, right) cyclic shift.
    pads_first: whether the grid is padded, to a multiple of the window, before it is shifted.
    """

    grid: tuple[int, int]
    size: tuple[int, int]
    shift: tuple[int, int]
    pads_first: bool


def window_attention_received(weights: Tensor, windows: Windows) -> Tensor:
    """Attention that each position receives in its window, back on the stage's grid.

    The mean of the softmax weights over the queries of a window, with partition and cyclic shift
    undone and padding cropped. Swin has no class token that Eq. 3 of AAL could use.

    Args:
        weights: (B·W, M, S, S), queries before keys.

    Returns:
        (B, M, h, w), float32 or wider.
    """
    (height, width), size = windows.grid, windows.size
    rows, columns = -(-height // size[0]), -(-width // size[1])
    received = _wide(weights).mean(dim=-2)  # (B·W, M, S)
    received = received.unflatten(0, (-1, rows, columns)).unflatten(-1, size)
    maps = received.permute(0, 3, 1, 4, 2, 5).flatten(4).flatten(2, 3)  # (B, M, padded grid)
    if windows.pads_first:
        maps = maps.roll(windows.shift, dims=(-2, -1))
    maps = maps[..., :height, :width]
    return maps if windows.pads_first else maps.roll(windows.shift, dims=(-2, -1))


def _softmax(scores: Tensor) -> Tensor:
    # float32: a softmax in half precision loses the small weights that the links read.
    return scores.softmax(dim=-1, dtype=torch.promote_types(scores.dtype, torch.float32))


def _wide(weights: Tensor) -> Tensor:
    return weights.to(torch.promote_types(weights.dtype, torch.float32))


def _normed(heads: Tensor, norm: Norm | None) -> Tensor:
    return heads if norm is None else norm(heads)


def _check_fills(num_patches: int, grid: tuple[int, int]) -> None:
    over = num_patches - grid[0] * grid[1]
    if not over:
        return
    reason = (
        f"num_prefix_tokens, of the student or in attention_layers, is {over} too small"
        if over > 0
        else "patch dropout is on, or num_prefix_tokens, of the student or in attention_layers, is "
        f"{-over} too large"
    )
    raise ValueError(
        f"{num_patches} patch tokens do not fill the patch grid {grid[0]}×{grid[1]}; attention "
        f"maps need every patch and nothing else: {reason}"
    )
