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


def full_attention(query, key, scale, bias=None):
    """Softmax weights (M, T, T) of one image, from (T, M, D) queries and keys."""
    tokens, heads, _ = query.shape
    weights = torch.zeros(heads, tokens, tokens, dtype=query.dtype)
    for m in range(heads):
        for t in range(tokens):
            scores = torch.stack([query[t, m] @ key[s, m] * scale for s in range(tokens)])
            if bias is not None:
                scores = scores + bias[m, t]
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


def swin_received(tokens, project, bias, window, shift, pads_first, heads):
    """Attention received in shifted windows, (M, h, w), cell by cell.

    tokens: (h, w, E) of one image. project: (E,) → query (M, D), key (M, D), ready for the
    product. bias: (M, S, S) inside a window.
    """
    height, width, channels = tokens.shape
    rows = -(-height // window[0]) * window[0]
    columns = -(-width // window[1]) * window[1]

    def source(y, x):
        """The cell of the stage's grid that lies at (y, x) of the shifted canvas, or None."""
        if pads_first:
            y, x = (y + shift[0]) % rows, (x + shift[1]) % columns
            return (y, x) if y < height and x < width else None
        if y >= height or x >= width:
            return None
        return (y + shift[0]) % height, (x + shift[1]) % width

    def region(y, x):
        if not any(shift):
            return 0
        down = (y >= rows - window[0]) + (y >= rows - shift[0])
        right = (x >= columns - window[1]) + (x >= columns - shift[1])
        return 3 * down + right

    maps = torch.zeros(heads, height, width, dtype=tokens.dtype)
    zero = tokens.new_zeros(channels)
    for top in range(0, rows, window[0]):
        for left in range(0, columns, window[1]):
            cells = [
                (y, x) for y in range(top, top + window[0]) for x in range(left, left + window[1])
            ]
            places = [source(*cell) for cell in cells]
            projected = [project(tokens[place] if place else zero) for place in places]
            for m in range(heads):
                for q, query_cell in enumerate(cells):
                    scores = []
                    for k, key_cell in enumerate(cells):
                        apart = region(*query_cell) != region(*key_cell)
                        product = projected[q][0][m] @ projected[k][1][m]
                        scores.append(product + bias[m, q, k] - 100.0 * apart)
                    for place, weight in zip(places, torch.stack(scores).softmax(0)):
                        if place:
                            maps[(m, *place)] += weight / len(cells)
    return maps


def window_received(weights, heads, grid, window, shift=(0, 0), dilated=False):
    """What each cell of a grid gets in its window, (B, M, h, w), cell by cell.

    weights: (…, Q, S) of all images, windows and heads, in this order. The grid is shifted first
    and padded then, as timm does. A dilated window holds every (rows / window)th row and column.
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
                if y < height and x < width:
                    y, x = (y + shift[0]) % height, (x + shift[1]) % width
                    maps[:, :, y, x] = weights[:, row, column, :, :, cell].mean(-1)
    return maps
