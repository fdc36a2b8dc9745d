"""Queries and keys to attention maps.

# B batch, T tokens, M heads, D head channels, N patch tokens, h w patch grid (N = h*w)
"""

from __future__ import annotations

from typing import Callable, Optional, Tuple

import torch
from torch import Tensor

Norm = Callable[[Tensor], Tensor]


def class_token_attention(
    query: Tensor, key: Tensor, grid: Tuple[int, int], scale: float
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
    if key.shape[1] != grid[0] * grid[1]:
        raise ValueError(
            f"{key.shape[1]} patch tokens do not fill the patch grid {grid[0]}×{grid[1]}; "
            "attention maps need every patch (is patch dropout on?)"
        )
    scores = torch.einsum("bmd,bnmd->bmn", query * scale, key)
    # float32: a softmax in half precision loses the small weights that the links read.
    weights = scores.softmax(dim=-1, dtype=torch.promote_types(scores.dtype, torch.float32))
    return weights.unflatten(-1, grid)


def qkv_class_token_attention(
    qkv: Tensor,
    grid: Tuple[int, int],
    num_heads: int,
    num_prefix_tokens: int,
    scale: float,
    query_norm: Optional[Norm] = None,
    key_norm: Optional[Norm] = None,
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
    qkv = qkv.unflatten(-1, (3, num_heads, -1))
    query, key = qkv[:, 0, 0], qkv[:, num_prefix_tokens:, 1]
    if query_norm is not None:
        query = query_norm(query)
    if key_norm is not None:
        key = key_norm(key)
    return class_token_attention(query, key, grid, scale)
