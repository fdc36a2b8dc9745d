"""L_att, the distance between augmented maps and the teacher's (AAL, Eq. 5).

# B batch, M linked maps, C channels, N positions of the map grid (h, w)
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from aal_plugin.core.precision import at_least_float32, precise_matmul, wide_dtype

# Smallest norm to divide by: a map of zeros (a dead channel) stays zero, with a finite gradient.
_FLOOR = 1e-6


def link_distance(augmented: Tensor, activation: Tensor) -> Tensor:
    """Mean squared difference of l2-normalised maps (AAL, Eq. 5).

    Each map is divided by its own l2 norm over the h*w positions; the mean runs over batch,
    channels and positions. Computed in float32 or wider.

    Args:
        augmented: A⁺, (B, C, h, w).
        activation: B, (B, C, h, w).

    Returns:
        A scalar.

    Example:
        >>> maps = torch.ones(1, 1, 2, 2)
        >>> link_distance(maps, 3 * maps).item(), link_distance(maps, -maps).item()
        (0.0, 1.0)
    """
    return F.mse_loss(_unit(augmented), _unit(activation))


def mean_link_distance(augmented: Sequence[Tensor], activations: Sequence[Tensor]) -> Tensor:
    """L_att over all teacher levels: the mean of `link_distance` over all channels (AAL, Eq. 5).

    Args:
        augmented: (B, C, h, w) of every level.
        activations: (B, C, h, w) of every level.

    Returns:
        A scalar.

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


def _unit(maps: Tensor) -> Tensor:
    maps = at_least_float32(maps.flatten(2))  # sums of squares over- and underflow in float16
    norm: Tensor = torch.linalg.vector_norm(maps, dim=-1, keepdim=True)
    return maps / norm.clamp_min(_FLOOR)
