"""DeiT's distillation from a teacher's logits (Touvron et al., 2021, section 4).

# B batch, K classes
"""

from __future__ import annotations

from collections.abc import Callable

import torch.nn.functional as F
from torch import Tensor

from aal_plugin.core.precision import at_least_float32
from aal_plugin.core.settings import check_choice, check_flag, check_number

REDUCTIONS = ("batch", "elements")

# λ of the distillation loss, as DeiT sets it; the label's loss has 1 - λ.
LOSS_WEIGHTS = dict(soft=0.1, hard=0.5)


def soft_distillation(
    logits: Tensor, teacher_logits: Tensor, temperature: float = 1.0, reduction: str = "batch"
) -> Tensor:
    """τ² · KL(ψ(Z_t/τ) ‖ ψ(Z_s/τ)), summed over classes, mean over the batch (DeiT, Eq. 2).

    The factor τ² keeps the size of the gradient at every temperature. In float32 or wider.

    Args:
        logits: the student's, (B, K).
        teacher_logits: (B, K).
        temperature: τ.
        reduction: 'batch' divides the sum by B, as in the paper. 'elements' divides it by B · K,
            as in DeiT's published code: with 1000 classes the loss and its gradient are then a
            thousand times smaller. Choose it to compare with runs of DeiT's code.

    Example:
        >>> import torch
        >>> logits = torch.tensor([[2.0, 0.0], [0.0, 1.0]])
        >>> soft_distillation(logits, logits, temperature=3.0).item()
        0.0
    """
    check_choice("reduction", reduction, REDUCTIONS)
    # In half precision the small probabilities, which carry the information, are lost.
    student = at_least_float32(logits) / temperature
    teacher = at_least_float32(teacher_logits) / temperature
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
    """CE(ψ(Z_s), argmax Z_t), mean over the batch (DeiT, Eq. 3); temperature and reduction are not
    used.
    """
    return F.cross_entropy(at_least_float32(logits), teacher_logits.argmax(dim=-1))


DISTILLATIONS: dict[str, Callable[[Tensor, Tensor, float, str], Tensor]] = {
    "soft": soft_distillation,
    "hard": hard_distillation,
}


def check_distillation(
    key: str,
    kind: str,
    token: bool,
    loss_weight: float | None,
    temperature: float,
    reduction: str,
) -> float:
    """Check the settings of a distillation loss, and return its weight.

    Args:
        key: the config's key of these settings, for the error, such as 'distill_head'.
        token: whether the distillation token learns from the teacher.
        loss_weight: λ, 0 to 1, or None for DeiT's: 0.1 for 'soft', 0.5 for 'hard'.

    Raises:
        ValueError: a setting is out of range; the error names it.
    """
    check_choice(f"{key}.kind", kind, list(DISTILLATIONS))
    check_flag(f"{key}.token", token)
    check_number(f"{key}.temperature", temperature, "a number above 0", above=0)
    check_choice(f"{key}.reduction", reduction, REDUCTIONS)
    if reduction != "batch" and kind != "soft":
        raise ValueError(
            f"{key}.reduction={reduction!r} has no effect, because kind={kind!r} does not sum over "
            "classes; choose kind='soft', or remove reduction"
        )
    weight = LOSS_WEIGHTS[kind] if loss_weight is None else loss_weight
    check_number(f"{key}.loss_weight", weight, "0 to 1, or None", low=0, high=1)
    return float(weight)
