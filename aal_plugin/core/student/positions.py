"""Position terms of attention: rotary embeddings, and biases that depend on the query.

# B batch, M heads, D channels of a head, N patch tokens, h w grid
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F


def rotate(heads: Tensor, sine: Tensor, cosine: Tensor, half: bool) -> Tensor:
    """Rotary position embedding: each pair of channels is rotated by the angle of its position.

    Args:
        heads: queries or keys of the patches, (B, N, M, D).
        sine, cosine: of the angles, one for each channel; (N, D), (M, N, D) or (B, M, N, D).
        half: whether channel i is paired with channel i + D/2, rather than 2i with 2i + 1.

    Example:
        >>> quarter_turn = torch.ones(1, 2), torch.zeros(1, 2)
        >>> rotate(torch.tensor([[[[1.0, 2.0]]]]), *quarter_turn, half=True)
        tensor([[[[-2.,  1.]]]])
    """
    sine, cosine = (
        table.unsqueeze(-2) if table.dim() == 2 else table.transpose(-3, -2)
        for table in (sine, cosine)
    )
    if half:
        first, second = heads.chunk(2, dim=-1)
        turned = torch.cat((-second, first), dim=-1)
    else:
        turned = torch.stack((-heads[..., 1::2], heads[..., ::2]), dim=-1).flatten(-2)
    return (heads * cosine + turned * sine).to(heads.dtype)


def decomposed_bias(
    query: Tensor,
    rows: Tensor,
    columns: Tensor,
    query_grid: tuple[int, int],
    key_grid: tuple[int, int],
) -> Tensor:
    """Decomposed relative position bias (B, M, Q, N): q · (R_row + R_column) (MViTv2, 4.1; SAM).

    Args:
        query: (B, Q, M, D), not scaled, row by row of its grid.
        rows, columns: embeddings of the distances between rows and between columns, (L, D) each.
    """
    query = query.unflatten(1, query_grid)
    down = _by_distance(rows, query_grid[0], key_grid[0])
    right = _by_distance(columns, query_grid[1], key_grid[1])
    by_row = torch.einsum("bhwmd,hkd->bmhwk", query, down)
    by_column = torch.einsum("bhwmd,wkd->bmhwk", query, right)
    bias = by_row[..., :, None] + by_column[..., None, :]
    return bias.flatten(-2).flatten(2, 3)


def _by_distance(table: Tensor, queries: int, keys: int) -> Tensor:
    """Embeddings (queries, keys, D) of the distances along one axis."""
    length = 2 * max(queries, keys) - 1
    if table.shape[0] != length:
        table = F.interpolate(table.mT[None], size=length, mode="linear")[0].mT
    # The coarser side counts its distances in steps of the finer one.
    query_step, key_step = max(keys / queries, 1.0), max(queries / keys, 1.0)
    places = torch.arange(queries)[:, None] * query_step - torch.arange(keys)[None] * key_step
    return table[(places + (keys - 1) * key_step).long().to(table.device)]
