"""DeiT's distillation from a teacher's logits (Touvron et al., 2021, section 4).

# B batch, K classes
"""

from __future__ import annotations

from typing import Callable, Dict

import torch
import torch.nn.functional as F
from torch import Tensor


def soft_distillation(logits: Tensor, teacher_logits: Tensor, temperature: float = 1.0) -> Tensor:
    """τ² · KL(ψ(Z_t/τ) ‖ ψ(Z_s/τ)), summed over classes, mean over the batch. (B, K) → scalar.

    The factor τ² keeps the gradient's size whatever the temperature. In float32 or wider.
    """
    student = _wide(logits) / temperature
    teacher = _wide(teacher_logits) / temperature
    divergence = F.kl_div(
        student.log_softmax(dim=-1),
        teacher.log_softmax(dim=-1),
        reduction="batchmean",  # 'mean' would divide by the classes too
        log_target=True,
    )
    return temperature**2 * divergence


def hard_distillation(logits: Tensor, teacher_logits: Tensor, temperature: float = 1.0) -> Tensor:
    """CE(ψ(Z_s), argmax Z_t), mean over the batch. (B, K) → scalar; the temperature is not used."""
    return F.cross_entropy(_wide(logits), teacher_logits.argmax(dim=-1))


DISTILLATIONS: Dict[str, Callable[[Tensor, Tensor, float], Tensor]] = {
    "soft": soft_distillation,
    "hard": hard_distillation,
}


def _wide(logits: Tensor) -> Tensor:
    # float32: in half precision the small probabilities, which distil, are lost.
    return logits.to(torch.promote_types(logits.dtype, torch.float32))
