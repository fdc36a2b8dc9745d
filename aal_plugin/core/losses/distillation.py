"""DeiT's distillation from a teacher's logits (Touvron et al., 2021, section 4).

# B batch, K classes
"""

from __future__ import annotations

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor

from aal_plugin.core.settings import check_number

REDUCTIONS = ("batch", "elements")


def soft_distillation(
    logits: Tensor, teacher_logits: Tensor, temperature: float = 1.0, reduction: str = "batch"
) -> Tensor:
    """τ² · KL(ψ(Z_t/τ) ‖ ψ(Z_s/τ)), summed over classes, mean over the batch. (B, K) → scalar.

    The factor τ² keeps the gradient's size whatever the temperature. In float32 or wider.

    Args:
        reduction: 'batch' divides the sum by B, as the paper has it. DeiT's published code
            divides it by B · K ('elements'), so that at 1000 classes the term, and its gradient,
            are a thousandth: choose that to compare with runs of DeiT's code.

    Raises:
        ValueError: another reduction.
    """
    if reduction not in REDUCTIONS:
        raise ValueError(f"reduction={reduction!r}; choose one of {list(REDUCTIONS)}")
    student = _wide(logits) / temperature
    teacher = _wide(teacher_logits) / temperature
    divergence = F.kl_div(
        student.log_softmax(dim=-1),
        teacher.log_softmax(dim=-1),
        reduction="sum",
        log_target=True,
    )
    count = len(student) if reduction == "batch" else student.numel()
    return temperature**2 * divergence / count


def hard_distillation(
    logits: Tensor, teacher_logits: Tensor, temperature: float = 1.0, reduction: str = "batch"
) -> Tensor:
    """CE(ψ(Z_s), argmax Z_t), mean over the batch. (B, K) → scalar.

    Temperature and reduction are those of `soft_distillation`, and are not used.
    """
    return F.cross_entropy(_wide(logits), teacher_logits.argmax(dim=-1))


DISTILLATIONS: dict[str, Callable[[Tensor, Tensor, float, str], Tensor]] = {
    "soft": soft_distillation,
    "hard": hard_distillation,
}


def check_temperature(key: str, temperature: float) -> None:
    """Raise ValueError unless τ is a number above 0."""
    check_number(key, temperature, "more than 0")
    if temperature <= 0:
        raise ValueError(f"{key}={temperature!r}; choose more than 0")


def _wide(logits: Tensor) -> Tensor:
    # float32: in half precision the small probabilities, which distil, are lost.
    return logits.to(torch.promote_types(logits.dtype, torch.float32))
