"""Attention maps from queries and keys.

# B batch, T tokens, M heads, D channels of a head, E channels of a token
# N patch tokens, h w patch grid (N = h*w), Q query tokens
"""

from __future__ import annotations

from collections.abc import Callable

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

    Returns:
        Maps that sum to one over their grid, (B, M, h, w), float32 or wider.

    Raises:
        ValueError: the number of keys is not h * w.

    Example:
        >>> query, key = torch.zeros(1, 2, 8), torch.rand(1, 6, 2, 8)
        >>> class_token_attention(query, key, grid=(2, 3), scale=8**-0.5)[0, 0]
        tensor([[0.1667, 0.1667, 0.1667],
                [0.1667, 0.1667, 0.1667]])
    """
    check_fills(key.shape[1], grid)
    scores = torch.einsum("bmd,bnmd->bmn", query * scale, key)
    return put_on_grid(patch_softmax(scores if bias is None else scores + bias), grid)


def attention_received(
    query: Tensor,
    key: Tensor,
    grid: tuple[int, int],
    scale: float | Tensor,
    bias: Tensor | None = None,
) -> Tensor:
    """Attention that each patch receives: the mean over queries of their softmax over the patches.

    It stands in for Eq. 3 where a student has no class token. All of QKᵀ is computed.

    Args:
        query: (B, Q, M, D).
        key: the keys of the patch tokens, row by row of the grid, (B, N, M, D).
        grid: (h, w), h * w = N.
        scale: the block's own factor on the product; a number, or a tensor that fits `query`.
        bias: added to the scaled product, (M, Q, N) or (B, M, Q, N).

    Returns:
        Maps that sum to one over their grid, (B, M, h, w), float32 or wider.

    Raises:
        ValueError: the number of keys is not h * w.

    Example:
        >>> query, key = torch.rand(1, 6, 2, 8), torch.rand(1, 6, 2, 8)
        >>> attention_received(query, key, grid=(2, 3), scale=8**-0.5).shape
        torch.Size([1, 2, 2, 3])
    """
    check_fills(key.shape[1], grid)
    scores = torch.einsum("bqmd,bkmd->bmqk", query * scale, key)
    scores = scores if bias is None else scores + bias
    return put_on_grid(patch_softmax(scores).mean(dim=-2), grid)


def token_attention(
    query: Tensor,
    key: Tensor,
    grid: tuple[int, int],
    scale: float,
    num_prefix_tokens: int,
    class_token: bool,
    rotate: Norm | None = None,
    bias: Tensor | None = None,
) -> Tensor:
    """Maps from the queries and keys of all tokens: Eq. 3, or the attention that patches receive.

    Only what the map needs is rotated and multiplied: one query with a class token.

    Args:
        query, key: (B, T, M, D), prefix tokens before patches, after the block's own norms.
        grid: (h, w).
        scale: the block's own factor on the product.
        num_prefix_tokens: tokens before the patches, the class token included.
        class_token: whether the first token is a class token; its row is read then.
        rotate: rotary position embedding of the patches, (B, N, M, D) to the same shape.
        bias: added to the scaled product, (M, T, T) or (B, M, T, T), queries before keys.

    Returns:
        (B, M, h, w), float32 or wider.

    Raises:
        ValueError: the number of patch tokens is not h * w.

    Example:
        >>> tokens = torch.rand(1, 1 + 6, 2, 8)
        >>> token_attention(tokens, tokens, (2, 3), 8**-0.5, 1, class_token=True).shape
        torch.Size([1, 2, 2, 3])
    """
    patches = slice(num_prefix_tokens, None)
    rows = slice(0, 1) if class_token else patches
    query, key = query[:, rows], key[:, patches]
    bias = None if bias is None else bias[..., rows, patches]
    if rotate is not None:
        key = rotate(key)
        query = query if class_token else rotate(query)
    if class_token:
        row = None if bias is None else bias[..., 0, :]
        return class_token_attention(query[:, 0], key, grid, scale, row)
    return attention_received(query, key, grid, scale, bias)


def attention_from_weights(
    weights: Tensor, grid: tuple[int, int], num_prefix_tokens: int, class_token: bool
) -> Tensor:
    """Maps from a block's own softmax weights.

    Args:
        weights: (B, M, T, T), queries before keys, rows summing to one.
        grid: (h, w).
        num_prefix_tokens: tokens before the patches.
        class_token: whether the first token is a class token. If so, its row over the patches is
            scaled to a sum of one (AAL, Eq. 3); if not, the rows of the patches are averaged.

    Returns:
        (B, M, h, w), float32 or wider.

    Raises:
        ValueError: the number of patch tokens is not h * w.

    Example:
        >>> weights = torch.rand(1, 2, 7, 7).softmax(-1)
        >>> attention_from_weights(weights, (2, 3), num_prefix_tokens=1, class_token=True).shape
        torch.Size([1, 2, 2, 3])
    """
    patches = slice(num_prefix_tokens, None)
    check_fills(weights.shape[-1] - num_prefix_tokens, grid)
    weights = at_least_float32(weights[:, :, 0 : 1 if class_token else None, patches])
    if not class_token:
        weights = weights[:, :, patches]
    if num_prefix_tokens:
        # The floor keeps a row finite that has all its weight on the prefix tokens.
        weights = weights / weights.sum(dim=-1, keepdim=True).clamp_min(1e-12)
    maps: Tensor = weights.mean(dim=-2).unflatten(-1, grid)
    return maps


def check_fills(num_patches: int, grid: tuple[int, int]) -> None:
    """Check that patch tokens fill a grid (h, w).

    Raises:
        ValueError: they do not; the likely reason is named.

    Example:
        >>> check_fills(6, (2, 3))
    """
    over = num_patches - grid[0] * grid[1]
    if not over:
        return
    where = "num_prefix_tokens, of the student or in attention_layers,"
    reason = (
        f"{where} is {over} too small"
        if over > 0
        else f"patch dropout is on, or {where} is {-over} too large"
    )
    raise ValueError(
        f"{num_patches} patch tokens do not fill the patch grid {grid[0]}×{grid[1]}; attention "
        f"maps need every patch and nothing else: {reason}"
    )


def patch_softmax(scores: Tensor) -> Tensor:
    """Softmax over the last axis, the patches, in float32 or wider.

    Example:
        >>> patch_softmax(torch.zeros(1, 2, dtype=torch.bfloat16))
        tensor([[0.5000, 0.5000]])
    """
    # float32: a softmax in half precision loses the small weights that the links read.
    return scores.softmax(dim=-1, dtype=torch.promote_types(scores.dtype, torch.float32))


def put_on_grid(flat: Tensor, grid: tuple[int, int]) -> Tensor:
    """(…, N) → (…, h, w), row by row.

    Example:
        >>> put_on_grid(torch.arange(4), (2, 2))
        tensor([[0, 1],
                [2, 3]])
    """
    maps: Tensor = flat.unflatten(-1, grid)
    return maps
