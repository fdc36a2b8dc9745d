"""Attention links, and the distance of augmented maps from the teacher's (AAL, Eq. 4 and 5).

# B batch, M linked maps, C channels of a teacher level, N positions of the map grid (h, w)
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from aal_plugin.core.precision import at_least_float32, precise_matmul, wide_dtype

from .resize import resize_maps

Range = tuple[int, int]  # (first, last) student block, 1-based and inclusive


class AttentionLinks(nn.ModuleList):
    """One 1×1 convolution per teacher level, from linked attention maps to channels (AAL, Eq. 4).

    A selective link is a smaller convolution, so blocks that are not linked cost nothing.
    Parameters are `<level>.weight` (C, maps, 1, 1) and `<level>.bias` (C,), levels counted from 0;
    the maps of a weight are the heads of its blocks, block after block.

    Args:
        ranges: (first, last) student block per level, see `link_ranges`.
        heads: number of heads of each student block.
        channels: channels of each teacher level.

    Example:
        >>> links = AttentionLinks([(1, 1), (1, 2)], heads=[3, 3], channels=[8, 16])
        >>> [tuple(link.weight.shape) for link in links]
        [(8, 3, 1, 1), (16, 6, 1, 1)]
        >>> maps = [torch.rand(2, 3, 14, 14)] * 2
        >>> [tuple(level.shape) for level in links(maps)]
        [(2, 8, 14, 14), (2, 16, 14, 14)]
    """

    def __init__(
        self, ranges: Sequence[Range], heads: Sequence[int], channels: Sequence[int]
    ) -> None:
        super().__init__(
            nn.Conv2d(sum(heads[first - 1 : last]), count, kernel_size=1)
            for (first, last), count in zip(ranges, channels)
        )
        self.ranges = list(ranges)
        self.heads = list(heads)

    def distance(
        self,
        maps: Sequence[Tensor],
        activations: Sequence[Tensor],
        size: tuple[int, int] | None = None,
        antialias: bool = False,
    ) -> Tensor:
        """L_att (AAL, Eq. 4 and 5), a scalar in float32 or wider, also under autocast.

        Args:
            maps: attention maps of every student block, (B, M, h, w) each.
            activations: teacher maps of every level, (B, C, H, W) each.
            size: the common grid (h, w); by default that of `map_grid`.
            antialias: smooth before a teacher map is made smaller.

        Raises:
            ValueError: a grid of one position.
        """
        size = size or map_grid(maps)
        if size[0] * size[1] < 2:
            raise ValueError(
                "the student's attention maps have one position each, so they carry no information "
                "after division by their norm; choose larger images, a smaller patch, or map_size"
            )
        dtype = torch.promote_types(maps[0].dtype, torch.float32)
        convs = cast("list[nn.Conv2d]", list(self))
        # Levels that are linked to the same blocks share one product.
        groups: dict[Range, list[int]] = {}
        for level, linked in enumerate(self.ranges):
            groups.setdefault(linked, []).append(level)
        with torch.autocast(maps[0].device.type, enabled=False):
            blocks = [resize_maps(block.to(wide_dtype(block)), size) for block in maps]
            stack = torch.cat(blocks, dim=1).flatten(2)
            total = stack.new_zeros((), dtype=dtype)
            for linked, levels in groups.items():
                weight = torch.cat([convs[level].weight.flatten(1) for level in levels])
                bias = torch.cat([cast(Tensor, convs[level].bias) for level in levels])
                resized = [resize_maps(activations[i], size, antialias) for i in levels]
                activation = torch.cat(resized, dim=1).flatten(2).to(dtype)
                heads = stack[:, self._heads_of(linked)]
                total = (
                    total + augmented_gap(weight.to(dtype), bias.to(dtype), heads, activation).sum()
                )
            channels = sum(conv.out_channels for conv in convs)
            return total / (len(stack) * channels * size[0] * size[1])

    def forward(self, maps: Sequence[Tensor]) -> list[Tensor]:
        """Attention maps of every block, (B, M, h, w) each → augmented maps, (B, C, h, w) each."""
        # One concatenation: a range of blocks is a slice of it, not a copy.
        stack = torch.cat(list(maps), dim=1)
        return [link(stack[:, self._heads_of(linked)]) for link, linked in zip(self, self.ranges)]

    def _heads_of(self, blocks: Range) -> slice:
        first, last = blocks
        return slice(sum(self.heads[: first - 1]), sum(self.heads[:last]))


def map_grid(maps: Sequence[Tensor]) -> tuple[int, int]:
    """The grid that the maps of all blocks share, or 14×14, the paper's, if they have several."""
    grids = {(block.shape[-2], block.shape[-1]) for block in maps}
    return grids.pop() if len(grids) == 1 else (14, 14)


# Smallest norm to divide by: a map of zeros (a dead channel) stays zero, with a finite gradient.
_FLOOR = 1e-6


def link_distance(augmented: Tensor, activation: Tensor) -> Tensor:
    """Mean squared difference of l2-normalised maps (AAL, Eq. 5).

    Each map of A⁺ and B, (B, C, h, w) each, is divided by its own l2 norm over the h*w positions;
    the mean runs over batch, channels and positions. Computed in float32 or wider.

    Example:
        >>> maps = torch.ones(1, 1, 2, 2)
        >>> link_distance(maps, 3 * maps).item(), link_distance(maps, -maps).item()
        (0.0, 1.0)
    """
    # Sums of squares over- and underflow in float16.
    own, theirs = (at_least_float32(maps.flatten(2)) for maps in (augmented, activation))
    return F.mse_loss(F.normalize(own, dim=-1, eps=_FLOOR), F.normalize(theirs, dim=-1, eps=_FLOOR))


def mean_link_distance(augmented: Sequence[Tensor], activations: Sequence[Tensor]) -> Tensor:
    """L_att of maps (B, C, h, w) of every level: the mean of `link_distance` over all channels.

    Example:
        >>> levels = [torch.rand(1, 8, 14, 14), torch.rand(1, 16, 14, 14)]
        >>> mean_link_distance(levels, levels).item()
        0.0
    """
    channels = [level.shape[1] for level in activations]
    distances = [
        link_distance(a, b) * count for a, b, count in zip(augmented, activations, channels)
    ]
    return torch.stack(distances).sum() / sum(channels)


def augmented_gap(weight: Tensor, bias: Tensor, maps: Tensor, activation: Tensor) -> Tensor:
    """‖A⁺/‖A⁺‖ − B/‖B‖‖² of every augmented map A⁺ = Σ wA + b, without A⁺ (AAL, Eq. 4 and 5).

    It needs only ‖A⁺‖² = wᵀ(AAᵀ)w and ⟨A⁺, B⟩ = wᵀ(AB), so neither A⁺ nor its gradient, C maps per
    image, is created. Where heads are nearly alike and their weights cancel, these sums lose
    digits. Therefore

    - ‖A⁺‖², which loses twice as many digits as A⁺ itself, is summed in float64: AAᵀ is small;
    - in ⟨A⁺, B⟩ the part r that all heads share is separated: wᵀ(AB) = wᵀ((A - r)B) + (Σw)⟨r, B⟩.

    Args:
        weight: (C, M).
        bias: (C,).
        maps: (B, M, N), N = h*w; in float64 if they were resized.
        activation: (B, C, N).

    Returns:
        (B, C), in the activation's dtype, never negative.

    Example:
        >>> maps, weight = torch.rand(1, 2, 9), torch.eye(2)
        >>> augmented_gap(weight, torch.zeros(2), maps, 5 * maps).round(decimals=5).tolist()
        [[0.0, 0.0]]
    """
    dtype = activation.dtype
    wide = wide_dtype(maps)
    wide_weight, maps = weight.to(wide), maps.to(wide)
    mean = maps.mean(dim=-1)
    centred = maps - mean[..., None]
    level = F.linear(mean, wide_weight, bias.to(wide))  # the mean of A⁺ over positions
    # The sum is the same for every r, so r needs no gradient.
    shared = centred.detach().mean(dim=1, keepdim=True)
    parts = torch.cat((centred - shared, shared), dim=1).to(dtype)  # (B, M + 1, N)
    factors = torch.cat((wide_weight.mT, wide_weight.sum(1)[None])).to(dtype)  # (M + 1, C)
    energy = _Energy.apply(weight, centred, factors, parts) + maps.shape[-1] * level.square()
    cross = precise_matmul(parts, activation.mT)
    product = (cross * factors).sum(1) + level.to(dtype) * activation.sum(-1)
    norm = energy.clamp_min(_FLOOR**2).sqrt()
    own_norm = torch.linalg.vector_norm(activation, dim=-1)
    own_floored = own_norm.clamp_min(_FLOOR)
    cosine = product / (norm.to(dtype) * own_floored)
    ratio = (energy / norm.square()).to(dtype)
    gap: Tensor = ratio + (own_norm / own_floored).square() - 2 * cosine
    return gap.clamp_min(0)


class _Energy(torch.autograd.Function):
    """wᵀ(AAᵀ)w, (B, C), summed in float64, with a backward pass in the weight's own dtype.

    Once r is separated, the gradients lose no more digits than A⁺ itself: the gradient for A is
    2w·A⁺ = 2w·(wᵀ(A - r) + (Σw)r), and the gradient for w is twice the product AAᵀw, which the
    forward pass has computed.
    """

    @staticmethod
    def forward(ctx: Any, weight: Tensor, maps: Tensor, factors: Tensor, parts: Tensor) -> Tensor:
        spread = _spread(weight, maps)
        ctx.save_for_backward(weight, maps, factors, parts, spread.to(weight.dtype))
        return (spread * weight.mT.to(spread.dtype)).sum(1)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        weight, maps, factors, parts, spread = ctx.saved_tensors
        if torch.is_grad_enabled():  # double back-propagation
            spread = _spread(weight, maps).to(weight.dtype)
        grad = 2 * grad.to(weight.dtype)[:, None]  # (B, 1, C)
        maps_grad = None
        if ctx.needs_input_grad[1]:
            across = factors.mT.expand(len(maps), -1, -1)
            between = precise_matmul(grad * weight.mT, across)  # (B, M, M + 1)
            maps_grad = precise_matmul(between, parts).to(maps.dtype)
        return (grad * spread).sum(0).mT, maps_grad, None, None


def _spread(weight: Tensor, maps: Tensor) -> Tensor:
    """AAᵀw, (B, M, C); a sum over M then runs along the memory."""
    return F.linear(maps @ maps.mT, weight.to(maps.dtype))
