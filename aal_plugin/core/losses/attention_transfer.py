"""Attention transfer (Zagoruyko and Komodakis, 2017) and FitNets hints.

# B batch, C channels, h w grid of a stage, H W image
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager

import torch
from torch import Tensor

from .links import resize_maps

# Scales a loss while it is differentiated by the image, and the gradient back: in half precision
# the gradient at a pixel would underflow. A power of two, so that float32 is not rounded.
_GRADIENT_SCALE = 1024.0

# Under a norm, as in the authors' code. Squares of small features are smaller by far: with a
# floor of 1e-6 features of 1e-4 would no longer be normalised.
_NORM_FLOOR = 1e-12


def attention_map(features: Tensor, kind: str = "sum", power: float = 2) -> Tensor:
    """Spatial attention of a CNN's features: Σ|A_i|^p or max|A_i|^p over channels (section 3.1).

    (B, C, h, w) → (B, h, w). `kind` is 'sum' or 'max'; power 1 gives F_sum and F_max.
    """
    powers = _wide(features).abs() ** power
    return ATTENTION_MAPS[kind](powers)


ATTENTION_MAPS: dict[str, Callable[[Tensor], Tensor]] = {
    "sum": lambda powers: powers.sum(dim=1),
    "max": lambda powers: powers.amax(dim=1),
}


def attention_transfer(student: Tensor, teacher: Tensor, reduction: str = "mean") -> Tensor:
    """Gap between two attention maps, each divided by its l2 norm. (B, h, w) each → scalar.

    'paper' is ½ ‖Q_S/‖Q_S‖ − Q_T/‖Q_T‖‖_2, mean over the batch (Eq. 2, without its β). 'mean'
    is the mean of squares over batch and positions, to which the authors' β = 10³ belongs.
    The teacher's map is resized to the student's grid where they differ.
    """
    teacher = resize_maps(teacher.unsqueeze(1), tuple(student.shape[-2:])).squeeze(1)
    gap = _unit(student) - _unit(teacher)
    return REDUCTIONS[reduction](gap)


REDUCTIONS: dict[str, Callable[[Tensor], Tensor]] = {
    "mean": lambda gap: gap.square().mean(),
    "paper": lambda gap: 0.5 * gap.norm(dim=1).mean(),
}


def hint_distance(student: Tensor, teacher: Tensor) -> Tensor:
    """Mean squared gap of whole features, l2-normalised per image (FitNets hints; section 4.1.2).

    (B, C, h, w) each, the student's already brought to the teacher's channels → scalar. The
    sum of squares per image, since a mean over C·h·w positions would vanish with their number.
    The teacher's features are resized to the student's grid where they differ.
    """
    teacher = resize_maps(_wide(teacher), tuple(student.shape[-2:]))
    return (_unit(student) - _unit(teacher)).square().sum(dim=1).mean()


def input_gradient(loss: Tensor, images: Tensor, differentiable: bool = True) -> Tensor:
    """J = ∂L/∂x (Eq. 3), of a loss summed over the images, (B, 3, H, W).

    Args:
        loss: scalar, a sum over the batch, so that each image's J is that of its own loss.
        images: the leaf that the loss was computed from.
        differentiable: keep the graph, for double back-propagation through J.
    """
    (gradient,) = torch.autograd.grad(
        loss * _GRADIENT_SCALE, images, create_graph=differentiable, retain_graph=differentiable
    )
    return _wide(gradient) / _GRADIENT_SCALE


def twice_differentiable_attention() -> AbstractContextManager:
    """Attention in plain operations: the fused kernels cannot be differentiated twice."""
    from torch.nn.attention import SDPBackend, sdpa_kernel

    return sdpa_kernel(SDPBackend.MATH)


def gradient_transfer(student: Tensor, teacher: Tensor) -> Tensor:
    """½ ‖J_S − J_T‖_2, mean over the batch (Eq. 4, without its β). (B, 3, H, W) each → scalar."""
    return 0.5 * _norms(student - teacher).mean()


def symmetry(gradient: Tensor, gradient_of_flipped: Tensor) -> Tensor:
    """½ ‖J(x) − flip(J(flip x))‖_2, mean over the batch (Eq. 6, without its β)."""
    return 0.5 * _norms(gradient - gradient_of_flipped.flip(-1)).mean()


def output_symmetry(logits: Tensor, logits_of_flipped: Tensor) -> Tensor:
    """½ ‖z(x) − z(flip x)‖_2, mean over the batch: the losses on outputs that the text beside
    Eq. 6 adds to those on gradients. (B, K) each → scalar, without its β.
    """
    return 0.5 * _norms(_wide(logits) - _wide(logits_of_flipped)).mean()


def gradient_norm(gradient: Tensor) -> Tensor:
    """‖J_S‖_2, mean over the batch: min-l2 (Drucker and LeCun, 1992), without its β."""
    return _norms(gradient).mean()


def _norms(gradient: Tensor) -> Tensor:
    return gradient.flatten(1).norm(dim=1)


def _unit(maps: Tensor) -> Tensor:
    maps = _wide(maps).flatten(1)
    return maps / maps.norm(dim=1, keepdim=True).clamp_min(_NORM_FLOOR)


def _wide(tensor: Tensor) -> Tensor:
    return tensor.to(torch.promote_types(tensor.dtype, torch.float32))
