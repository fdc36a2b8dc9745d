"""Attention maps from the projections of a block: qkv in one, queries and keys apart, or neither.

# B batch, T tokens, M heads, D channels of a head, E channels of a token
# N patch tokens, h w patch grid (N = h*w)
"""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from .maps import (
    Norm,
    attention_received,
    check_fills,
    class_token_attention,
    patch_softmax,
    put_on_grid,
    token_attention,
)


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
        num_heads: M.
        num_prefix_tokens: tokens before the patches, the class token included.
        scale: the block's own factor on the product.
        query_norm: applied to the last axis of the query before the product, when the block
            normalises its queries.
        key_norm: likewise for the keys.

    Returns:
        (B, M, h, w), float32 or wider.

    Raises:
        ValueError: the number of patch tokens is not h * w.

    Example:
        >>> qkv = torch.rand(1, 1 + 6, 3 * 2 * 8)  # a class token, 2×3 patches, 2 heads
        >>> qkv_class_token_attention(qkv, (2, 3), 2, num_prefix_tokens=1, scale=8**-0.5).shape
        torch.Size([1, 2, 2, 3])
    """
    query, key = _QueryAndKeys.apply(qkv, num_prefix_tokens)
    query = _normed(query.unflatten(-1, (num_heads, -1)), query_norm)
    key = _normed(key.unflatten(-1, (num_heads, -1)), key_norm)
    return class_token_attention(query, key, grid, scale)


class _QueryAndKeys(torch.autograd.Function):
    """The class token's query (B, M·D) and the patches' keys (B, N, M·D) out of qkv.

    Slicing gives the same values, but the gradient of every slice is a tensor as large as qkv,
    mostly zeros: three of them a block, and their sum, cost more than all links do.
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

    Arguments, result and errors as in `qkv_class_token_attention`. Prefix tokens (registers) are
    neither query nor key.

    Example:
        >>> qkv = torch.rand(1, 6, 3 * 2 * 8)
        >>> qkv_attention_received(qkv, (2, 3), 2, num_prefix_tokens=0, scale=8**-0.5).shape
        torch.Size([1, 2, 2, 3])
    """
    qkv = qkv[:, num_prefix_tokens:].unflatten(-1, (3, num_heads, -1))
    query, key = _normed(qkv[:, :, 0], query_norm), _normed(qkv[:, :, 1], key_norm)
    return attention_received(query, key, grid, scale)


def projected_attention(
    query: Tensor,
    key: Tensor,
    grid: tuple[int, int],
    num_heads: int,
    num_prefix_tokens: int,
    scale: float,
    class_token: bool,
    query_norm: Norm | None = None,
    key_norm: Norm | None = None,
) -> Tensor:
    """Maps from the outputs of separate query and key projections, as in `token_attention`.

    Args:
        query: (B, T, M·D), or (B, M·D) for the class token alone.
        key: (B, T, M·D), prefix tokens before patches.
        grid: (h, w).
        num_heads: M.
        num_prefix_tokens: tokens before the patches, the class token included.
        scale: the block's own factor on the product.
        class_token: whether the first token is a class token.
        query_norm, key_norm: applied to the last axis of each head before the product.

    Returns:
        (B, M, h, w), float32 or wider.

    Raises:
        ValueError: the number of patch tokens is not h * w.

    Example:
        >>> tokens = torch.rand(1, 1 + 6, 2 * 8)
        >>> projected_attention(tokens, tokens, (2, 3), 2, 1, 8**-0.5, class_token=True).shape
        torch.Size([1, 2, 2, 3])
    """
    query = query[:, None] if query.dim() == 2 else query
    rows = slice(0, 1) if class_token else slice(num_prefix_tokens, None)
    query = _normed(query[:, rows].unflatten(-1, (num_heads, -1)), query_norm)
    key = _normed(key[:, num_prefix_tokens:].unflatten(-1, (num_heads, -1)), key_norm)
    return token_attention(query, key, grid, scale, 0, class_token)


def input_class_token_attention(
    tokens: Tensor, grid: tuple[int, int], attn: Any, num_prefix_tokens: int
) -> Tensor:
    """Class-token attention from the input of a BEiT attention module (AAL, Eq. 3).

    Such a module uses its `qkv` by the weight alone, with biases of its own, so no projection runs
    that a hook could record. The class token's query is multiplied by the keys' weight instead:
    q · (W x) = (Wᵀq) · x, one row for each head rather than all keys once more. Terms that are
    equal for all keys of a query cancel in the softmax: the keys' bias, and the relative position
    bias between the class token and the patches, which is one number for each head.

    Args:
        tokens: (B, T, E), the class token first, then other prefix tokens, then N patches.
        grid: (h, w).
        attn: has `qkv.weight` (3·M·D, E), `q_bias` or `qkv.bias`, `num_heads` and `scale`.
        num_prefix_tokens: tokens before the patches, the class token included.

    Returns:
        (B, M, h, w), float32 or wider.

    Raises:
        ValueError: the number of patch tokens is not h * w.

    Example:
        >>> attn = torch.nn.Module()
        >>> attn.qkv, attn.num_heads, attn.scale = torch.nn.Linear(16, 48), 2, 8**-0.5
        >>> input_class_token_attention(torch.rand(1, 7, 16), (2, 3), attn, 1).shape
        torch.Size([1, 2, 2, 3])
    """
    check_fills(tokens.shape[1] - num_prefix_tokens, grid)
    query_weight, key_weight, _ = attn.qkv.weight.chunk(3)
    bias = getattr(attn, "q_bias", None)
    if bias is None and attn.qkv.bias is not None:
        bias = attn.qkv.bias.chunk(3)[0]
    query = F.linear(tokens[:, 0], query_weight, bias).unflatten(-1, (attn.num_heads, -1))
    key_weight = key_weight.unflatten(0, (attn.num_heads, -1))
    pulled_back = torch.einsum("bmd,mde->bme", query * attn.scale, key_weight)
    scores = torch.einsum("bme,bne->bmn", pulled_back, tokens[:, num_prefix_tokens:])
    return put_on_grid(patch_softmax(scores), grid)


def _normed(heads: Tensor, norm: Norm | None) -> Tensor:
    return heads if norm is None else norm(heads)
