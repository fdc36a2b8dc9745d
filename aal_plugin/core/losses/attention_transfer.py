"""Attention transfer (Zagoruyko and Komodakis, 2017) and FitNets hints.

# B batch, C channels, h w grid of a stage, H W image
"""

from __future__ import annotations

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor

from aal_plugin.core.precision import at_least_float32

from .resize import resize_maps

# The loss is multiplied by this before it is differentiated by the image, and the gradient is
# divided by it: in half precision the gradient at a pixel would underflow. A power of two does not
# round float32.
_GRADIENT_SCALE = 1024.0

# Smallest norm to divide by, as in the authors' code. Squares of small features are much smaller:
# with a floor of 1e-6, features of 1e-4 would no longer be normalised.
_NORM_FLOOR = 1e-12


def attention_map(features: Tensor, kind: str = "sum", power: float = 2) -> Tensor:
    """Spatial attention of features (B, C, h, w): Σ|A_i|^p, or max|A_i|^p if `kind` is 'max', over
    channels (AT, section 3.1), (B, h, w) in float32 or wider.

    Example:
        >>> attention_map(torch.tensor([[[[1.0, -2.0]], [[3.0, 0.0]]]])).tolist()
        [[[10.0, 4.0]]]
    """
    powers = at_least_float32(features).abs() ** power
    return ATTENTION_MAPS[kind](powers)


ATTENTION_MAPS: dict[str, Callable[[Tensor], Tensor]] = {
    "sum": lambda powers: powers.sum(dim=1),
    "max": lambda powers: powers.amax(dim=1),
}


def attention_transfer(student: Tensor, teacher: Tensor, reduction: str = "mean") -> Tensor:
    """Difference of two attention maps, each divided by its l2 norm (AT, Eq. 2, without its β).

    Args:
        student: Q_S, (B, h, w).
        teacher: Q_T, (B, h', w'); resized to the student's grid if the grids differ.
        reduction: 'paper' is ½ ‖Q_S/‖Q_S‖ − Q_T/‖Q_T‖‖_2, averaged over the batch. 'mean' is the
            mean of squares over batch and positions, as in the authors' code; their β = 10³
            belongs to it.

    Example:
        >>> maps = torch.tensor([[[3.0, 4.0]]])
        >>> round(attention_transfer(maps, maps.flip(2)).item(), 4)
        0.04
    """
    teacher = resize_maps(teacher.unsqueeze(1), (student.shape[-2], student.shape[-1])).squeeze(1)
    return REDUCTIONS[reduction](_unit(student) - _unit(teacher))


REDUCTIONS: dict[str, Callable[[Tensor], Tensor]] = {
    "mean": lambda gap: gap.square().mean(),
    "paper": lambda gap: 0.5 * gap.norm(dim=1).mean(),
}


def hint_distance(student: Tensor, teacher: Tensor) -> Tensor:
    """Squared difference of features, l2-normalised per image (FitNets hints; AT, section 4.1.2).

    The squares are summed per image and averaged over the batch: a mean over the C·h·w positions
    would shrink with their number.

    Args:
        student: (B, C, h, w), already projected to the teacher's channels.
        teacher: (B, C, h', w'); resized to the student's grid if the grids differ.

    Example:
        >>> features = torch.ones(2, 3, 4, 4)
        >>> round(hint_distance(features, -features).item(), 4)
        4.0
    """
    teacher = resize_maps(at_least_float32(teacher), (student.shape[-2], student.shape[-1]))
    return (_unit(student) - _unit(teacher)).square().sum(dim=1).mean()


def input_gradient(loss: Tensor, images: Tensor, differentiable: bool = True) -> Tensor:
    """J = ∂L/∂x, (B, 3, H, W), in float32 or wider (AT, Eq. 3).

    Args:
        loss: scalar, a sum over the batch, so that each image's J is that of its own loss.
        images: (B, 3, H, W), the leaf from which the loss was computed.
        differentiable: keep the graph, for double back-propagation through J.
    """
    (gradient,) = torch.autograd.grad(
        loss * _GRADIENT_SCALE, images, create_graph=differentiable, retain_graph=differentiable
    )
    return at_least_float32(gradient) / _GRADIENT_SCALE


def half_norm(gap: Tensor) -> Tensor:
    """½ ‖gap‖_2 of each image, averaged over the batch, without its β.

    With gap = J_S − J_T it is AT's Eq. 4; with J(x) − flip(J(flip x)) its Eq. 6, to whose
    gradients the text beside it adds the same of the logits, z(x) − z(flip x). Twice the half norm
    of J_S alone is min-l2 (Drucker and LeCun, 1992).

    Args:
        gap: (B, 3, H, W), or (B, K) of logits.

    Example:
        >>> half_norm(torch.tensor([[3.0, 4.0]])).item()
        2.5
    """
    norms: Tensor = torch.linalg.vector_norm(at_least_float32(gap).flatten(1), dim=1)
    return 0.5 * norms.mean()


def _unit(maps: Tensor) -> Tensor:
    return F.normalize(at_least_float32(maps).flatten(1), dim=1, eps=_NORM_FLOOR)
