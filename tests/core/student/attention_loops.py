"""Attention written as loops over the full matrix, to hold the fast paths against."""

import torch
import torch.nn.functional as F
from torch.overrides import TorchFunctionMode


class InterceptedWeights(TorchFunctionMode):
    """Every attention matrix (…, Q, T) that runs in this context, as its caller computes it.

    The inputs of the fused attention function are multiplied by its definition; the result of an
    explicit softmax over at least three axes is stored.
    """

    def __init__(self):
        super().__init__()
        self.weights = []

    def __torch_function__(self, func, types, args=(), kwargs=None):
        kwargs = kwargs or {}
        if func is F.scaled_dot_product_attention:
            self.weights.append(self._of_fused(*args, **kwargs))
        out = func(*args, **kwargs)
        if getattr(func, "__name__", "") == "softmax" and out.dim() >= 3:
            self.weights.append(out.detach())
        return out

    def _of_fused(self, query, key, value, attn_mask=None, dropout_p=0.0, scale=None, **_):
        scale = query.shape[-1] ** -0.5 if scale is None else scale
        scores = torch.einsum("...qd,...kd->...qk", query, key) * scale
        scores = (scores if attn_mask is None else scores + attn_mask).detach()
        weights = (scores - scores.amax(-1, keepdim=True)).exp()
        return weights / weights.sum(-1, keepdim=True)


def full_attention(query, key, scale):
    """Softmax weights (M, T, T) of one image, from (T, M, D) queries and keys."""
    tokens, heads, _ = query.shape
    weights = torch.zeros(heads, tokens, tokens, dtype=query.dtype)
    for m in range(heads):
        for t in range(tokens):
            scores = torch.stack([query[t, m] @ key[s, m] * scale for s in range(tokens)])
            weights[m, t] = scores.softmax(0)
    return weights


def class_row(weights, prefix, grid):
    """The class token's row over the patches, with a sum of one, (M, h, w)."""
    row = weights[:, 0, prefix:]
    return (row / row.sum(-1, keepdim=True)).reshape(-1, *grid)


def received(weights, prefix, grid):
    """What each patch gets from all patches on average, (M, h, w)."""
    patches = weights[:, prefix:, prefix:]
    patches = patches / patches.sum(-1, keepdim=True)
    return patches.mean(1).reshape(-1, *grid)


def window_received(weights, heads, grid, window, shift=(0, 0), dilated=False, pads_first=False):
    """What each cell of a grid gets in its window, (B, M, h, w), cell by cell.

    weights: (…, Q, S) of all images, windows and heads, in this order. The grid is shifted first
    and padded then, as timm does, or the reverse, as MMPretrain does. A dilated window holds
    every (rows / window)th row and column.
    """
    height, width = grid
    rows, columns = -(-height // window[0]), -(-width // window[1])
    weights = weights.reshape(-1, rows, columns, heads, *weights.shape[-2:])
    maps = weights.new_zeros(len(weights), heads, height, width)
    for row in range(rows):
        for column in range(columns):
            for cell in range(window[0] * window[1]):
                y, x = divmod(cell, window[1])
                y, x = (
                    (y * rows + row, x * columns + column)
                    if dilated
                    else (row * window[0] + y, column * window[1] + x)
                )
                down, right = (side * size for side, size in zip((rows, columns), window))
                if pads_first:
                    y, x = (y + shift[0]) % down, (x + shift[1]) % right
                if y < height and x < width:
                    if not pads_first:
                        y, x = (y + shift[0]) % height, (x + shift[1]) % width
                    maps[:, :, y, x] = weights[:, row, column, :, :, cell].mean(-1)
    return maps
