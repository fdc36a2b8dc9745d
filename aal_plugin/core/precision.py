"""Matrix products to float32's own precision, where TF32 would round the factors.

TF32 keeps 10 of float32's 23 mantissa bits. Disabled autocast does not switch it off, a flag that
is set in a forward pass holds no longer in the backward pass, and a compiled graph reads neither:
so each factor is taken apart into a leading part that TF32 holds exactly and the rest.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor


def precise_matmul(a: Tensor, b: Tensor) -> Tensor:
    """A @ b for (B, I, K) and (B, K, J), and its gradients, whatever TF32 says."""
    return _Product.apply(a, b)


class _Product(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, a: Tensor, b: Tensor) -> Tensor:
        ctx.save_for_backward(a, b)
        return _product(a, b)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Any, Any]:
        a, b = ctx.saved_tensors
        needs_a, needs_b = ctx.needs_input_grad
        return (
            precise_matmul(grad, b.mT) if needs_a else None,
            precise_matmul(a.mT, grad) if needs_b else None,
        )


def _product(a: Tensor, b: Tensor) -> Tensor:
    if a.dtype != torch.float32 or not rounds_factors(a.device.type):
        return a @ b
    high_a, high_b = _leading(a), _leading(b)
    return (high_a @ (b - high_b) + (a - high_a) @ high_b) + high_a @ high_b


def _leading(values: Tensor) -> Tensor:
    """The sign, exponent and 10 mantissa bits that TF32 keeps: the rest are zero."""
    return (values.view(torch.int32) & ~0x1FFF).view(torch.float32)


@torch.compiler.assume_constant_result
def rounds_factors(device: str) -> bool:
    """Whether float32 products on such a device may round their factors to TF32."""
    if device != "cuda":
        return False
    settings = torch.backends.cuda.matmul
    if not hasattr(torch.backends, "fp32_precision"):  # before torch 2.9
        return settings.allow_tf32
    # The nearest setting holds; 'none' leaves it to the one above.
    for precision in (settings.fp32_precision, torch.backends.fp32_precision):
        if precision != "none":
            return precision != "ieee"
    return False


def wide_dtype(tensor: Tensor) -> torch.dtype:
    """float64, or float32 on Apple's GPUs, which have none."""
    return torch.float32 if tensor.device.type == "mps" else torch.float64
