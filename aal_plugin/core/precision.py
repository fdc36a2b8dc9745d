"""Matrix products to float32's own precision, where TF32 would round the factors.

TF32 keeps 10 of float32's 23 mantissa bits. Disabling autocast does not switch it off, a flag set
in a forward pass is gone in the backward pass, and a compiled graph reads neither. So each factor
is split into a leading part, which TF32 represents exactly, and the rest.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor


def precise_matmul(a: Tensor, b: Tensor) -> Tensor:
    """(B, I, K) times (B, K, J), and its gradients, in float32's own precision under TF32 too.

    Example:
        >>> precise_matmul(torch.ones(1, 2, 3), torch.ones(1, 3, 4)).shape
        torch.Size([1, 2, 4])
    """
    product: Tensor = _Product.apply(a, b)
    return product


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
    """The sign, exponent and 10 mantissa bits that TF32 keeps; the other bits are zero."""
    return (values.view(torch.int32) & ~0x1FFF).view(torch.float32)


@torch.compiler.assume_constant_result  # type: ignore[untyped-decorator]
def rounds_factors(device: str) -> bool:
    """Whether float32 products on a device of this type may round their factors to TF32."""
    if device != "cuda":
        return False
    settings = torch.backends.cuda.matmul
    if not hasattr(torch.backends, "fp32_precision"):  # before torch 2.9
        return bool(settings.allow_tf32)
    # The nearest setting applies; 'none' defers to the one above.
    for precision in (settings.fp32_precision, torch.backends.fp32_precision):
        if precision != "none":
            return bool(precision != "ieee")
    return False


def wide_dtype(tensor: Tensor) -> torch.dtype:
    """float64, or float32 on Apple's GPUs, which lack float64."""
    return torch.float32 if tensor.device.type == "mps" else torch.float64


def at_least_float32(tensor: Tensor) -> Tensor:
    """Half precision as float32; float32 and float64 unchanged."""
    return tensor.to(torch.promote_types(tensor.dtype, torch.float32))
