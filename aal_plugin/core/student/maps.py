"""Attention maps from queries and keys, from a block's projections, or from its own weights.

# B batch, T tokens, M heads, D channels of a head, N patch tokens, h w patch grid (N = h*w)
# Q query tokens

All maps are (B, M, h, w), in float32 or wider, and sum to one over their grid. Patch tokens that
do not fill the grid are a ValueError.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from aal_plugin.core.precision import at_least_float32

Norm = Callable[[Tensor], Tensor]


def class_token_attention(
    query: Tensor,
    key: Tensor,
    grid: tuple[int, int],
    scale: float | Tensor,
    bias: Tensor | None = None,
) -> Tensor:
    """Attention of the class token over the patch tokens alone (AAL, Eq. 3).

    Args:
        query: the class token's query, (B, M, D).
        key: the keys of the patch tokens, row by row of the grid, (B, N, M, D).
        grid: (h, w), h * w = N.
        scale: the block's own factor on the product, 1/√D as in Eq. 2.
        bias: added to the scaled product, such as a position bias; (M, N) or (B, M, N).

    Example:
        >>> query, key = torch.zeros(1, 2, 8), torch.rand(1, 6, 2, 8)
        >>> class_token_attention(query, key, grid=(2, 3), scale=8**-0.5)[0, 0]
        tensor([[0.1667, 0.1667, 0.1667],
                [0.1667, 0.1667, 0.1667]])
    """
    bias = None if bias is None else bias[..., None, :]
    return attention_received(query[:, None], key, grid, scale, bias)


def attention_received(
    query: Tensor,
    key: Tensor,
    grid: tuple[int, int],
    scale: float | Tensor,
    bias: Tensor | None = None,
) -> Tensor:
    """Attention that each patch receives: the mean over queries of their softmax over the patches.

    It stands in for Eq. 3 where a student has no class token; the class token as the only query
    gives Eq. 3.

    Args:
        query, key: (B, Q, M, D), and of the patch tokens, row by row of the grid, (B, N, M, D).
        scale: the block's own factor on the product; a number, or a tensor that fits `query`.
        bias: added to the scaled product, (M, Q, N) or (B, M, Q, N).
    """
    check_fills(key.shape[1], grid)
    scores = torch.einsum("bqmd,bkmd->bmqk", query * scale, key)
    scores = scores if bias is None else scores + bias
    return put_on_grid(patch_softmax(scores).mean(dim=-2), grid)


def token_attention(
    query: Tensor,
    key: Tensor,
    grid: tuple[int, int],
    num_prefix_tokens: int,
    class_token: bool,
    scale: float | None = None,
    query_norm: Norm | None = None,
    key_norm: Norm | None = None,
    rotate: Norm | None = None,
    bias: Tensor | None = None,
) -> Tensor:
    """Maps from the queries and keys of all tokens: Eq. 3, or the attention that patches receive.

    Args:
        query, key: (B, T, M, D), prefix tokens before patches; a query may be the class token's.
        class_token: whether the first token is a class token; its row is read then.
        scale: the block's own factor on the product; None is 1/√D.
        query_norm, key_norm: applied to the last axis of each head before the product.
        rotate: rotary position embedding of the patches, (B, N, M, D) to the same shape.
        bias: added to the scaled product, (M, T, T) or (B, M, T, T), queries before keys.
    """
    # Only what the map needs is normed, rotated and multiplied: one query with a class token.
    patches = slice(num_prefix_tokens, None)
    rows = slice(0, 1) if class_token else patches
    query, key = query[:, rows], key[:, patches]
    query = query if query_norm is None else query_norm(query)
    key = key if key_norm is None else key_norm(key)
    if rotate is not None:
        query, key = query if class_token else rotate(query), rotate(key)
    bias = None if bias is None else bias[..., rows, patches]
    scale = query.shape[-1] ** -0.5 if scale is None else scale
    return attention_received(query, key, grid, scale, bias)


def projected_attention(
    query: Tensor, key: Tensor, grid: tuple[int, int], num_heads: int, **settings: Any
) -> Tensor:
    """As `token_attention`, from projections (B, T, M·D), or (B, M·D) for the class token alone."""
    query = query[:, None] if query.dim() == 2 else query
    query, key = (heads.unflatten(-1, (num_heads, -1)) for heads in (query, key))
    return token_attention(query, key, grid, **settings)


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
        query_norm, key_norm: applied to the last axis of each head before the product, when the
            block normalises its queries and keys.

    Example:
        >>> qkv = torch.rand(1, 1 + 6, 3 * 2 * 8)  # a class token, 2×3 patches, 2 heads
        >>> qkv_class_token_attention(qkv, (2, 3), 2, num_prefix_tokens=1, scale=8**-0.5).shape
        torch.Size([1, 2, 2, 3])
    """
    norms = dict(query_norm=query_norm, key_norm=key_norm)
    return qkv_attention(qkv, grid, num_heads, num_prefix_tokens, True, scale=scale, **norms)


def qkv_attention(
    qkv: Tensor,
    grid: tuple[int, int],
    num_heads: int,
    num_prefix_tokens: int,
    class_token: bool,
    **settings: Any,
) -> Tensor:
    """As `token_attention`, from the output (B, T, 3·M·D) of one projection."""
    query, key = _QueryAndKeys.apply(qkv, num_prefix_tokens, class_token)
    settings.update(num_prefix_tokens=0, class_token=class_token)
    return projected_attention(query, key, grid, num_heads, **settings)


class _QueryAndKeys(torch.autograd.Function):
    """The queries (B, Q, M·D) and the patches' keys (B, N, M·D) out of qkv.

    Slicing gives the same values, but the gradient of every slice is a tensor as large as qkv,
    mostly zeros: three of them a block, and their sum, cost more than all links do.
    """

    @staticmethod
    def forward(
        ctx: Any, qkv: Tensor, num_prefix_tokens: int, class_token: bool
    ) -> tuple[Tensor, Tensor]:
        ctx.shape, ctx.given = qkv.shape, (num_prefix_tokens, class_token)
        of_query, of_key = _parts_of_qkv(qkv.shape[-1], num_prefix_tokens, class_token)
        return qkv[of_query], qkv[of_key]

    @staticmethod
    def backward(ctx: Any, query_grad: Tensor, key_grad: Tensor) -> tuple[Tensor, None, None]:
        grad = key_grad.new_zeros(ctx.shape)
        of_query, of_key = _parts_of_qkv(ctx.shape[-1], *ctx.given)
        grad[of_query], grad[of_key] = query_grad, key_grad
        return grad, None, None


def _parts_of_qkv(width: int, num_prefix_tokens: int, class_token: bool) -> tuple[Any, Any]:
    patches, third = slice(num_prefix_tokens, None), width // 3
    queries = slice(0, 1) if class_token else patches
    return (..., queries, slice(third)), (..., patches, slice(third, 2 * third))


def attention_from_weights(
    weights: Tensor, grid: tuple[int, int], num_prefix_tokens: int, class_token: bool
) -> Tensor:
    """Maps from a block's own softmax weights (B, M, T, T), queries before keys.

    With a class token, its row over the patches is scaled to a sum of one (AAL, Eq. 3); without,
    the rows of the patches are averaged.
    """
    patches = slice(num_prefix_tokens, None)
    check_fills(weights.shape[-1] - num_prefix_tokens, grid)
    weights = at_least_float32(weights[:, :, 0 : 1 if class_token else None, patches])
    if not class_token:
        weights = weights[:, :, patches]
    if num_prefix_tokens:
        # The floor keeps a row finite that has all its weight on the prefix tokens.
        weights = weights / weights.sum(dim=-1, keepdim=True).clamp_min(1e-12)
    return put_on_grid(weights.mean(dim=-2), grid)


def check_fills(num_patches: int, grid: tuple[int, int]) -> None:
    """Raise ValueError unless patch tokens fill a grid; it names the likely reason."""
    over = num_patches - grid[0] * grid[1]
    if not over:
        return
    where = "num_prefix_tokens, of the student or in attention_layers, is"
    reason = f"{where} {over} too small"
    if over < 0:
        reason = f"patch dropout is on, or {where} {-over} too large"
    raise ValueError(
        f"{num_patches} patch tokens do not fill the patch grid {grid[0]}×{grid[1]}; attention "
        f"maps need every patch and nothing else: {reason}"
    )


def patch_softmax(scores: Tensor) -> Tensor:
    """Softmax over the last axis, the patches, in float32 or wider."""
    # float32: a softmax in half precision loses the small weights that the links read.
    return scores.softmax(dim=-1, dtype=torch.promote_types(scores.dtype, torch.float32))


def put_on_grid(flat: Tensor, grid: tuple[int, int]) -> Tensor:
    """(…, N) → (…, h, w), row by row."""
    maps: Tensor = flat.unflatten(-1, grid)
    return maps
