"""λ, the weight of the attention-link loss, as a function of the epoch (AAL, section 3.3.2)."""

from __future__ import annotations

from typing import Optional, Sequence


def link_weight(
    epoch: int,
    base: float,
    gammas: Sequence[float],
    milestones: Sequence[int] = (),
    stop_epoch: Optional[int] = None,
    start_epoch: int = 0,
) -> float:
    """λ_e = base · Π γ over the epochs before `epoch` (0-based); 0 from `stop_epoch` on.

    Before `start_epoch` it is 0 too; the decay is counted from epoch 0 all the same.

    gammas[i] holds for the epochs from milestones[i-1] up to, not including, milestones[i].
    The paper's default: base 2000, gammas (0.99, 0.98), milestones (200,).

    >>> link_weight(0, 2000.0, (0.99, 0.98), (200,))
    2000.0
    """
    if epoch < start_epoch or (stop_epoch is not None and epoch >= stop_epoch):
        return 0.0
    weight = base
    starts = (0, *milestones)
    ends = (*milestones, epoch)
    for gamma, start, end in zip(gammas, starts, ends):
        weight *= gamma ** max(0, min(end, epoch) - start)
    return weight


def check_schedule(
    gammas: Sequence[float],
    milestones: Sequence[int],
    stop_epoch: Optional[int] = None,
    start_epoch: int = 0,
) -> None:
    """Raise ValueError unless the three describe a schedule, naming what does not fit."""
    given = f"gammas={tuple(gammas)}, milestones={tuple(milestones)}"
    if len(gammas) != len(milestones) + 1:
        raise ValueError(
            f"{given}: {len(milestones)} milestones need {len(milestones) + 1} gammas, "
            f"got {len(gammas)}"
        )
    if not all(0 <= gamma <= 1 for gamma in gammas):
        raise ValueError(f"{given}: every gamma must lie in [0, 1]")
    if any(b <= a for a, b in zip((0, *milestones), milestones)):
        raise ValueError(f"{given}: milestones must be positive epochs in ascending order")
    if stop_epoch is not None and stop_epoch < 0:
        raise ValueError(f"stop_epoch={stop_epoch}; give an epoch of 0 or more, or None")
    if type(start_epoch) is not int or start_epoch < 0:
        raise ValueError(f"start_epoch={start_epoch!r}; give an epoch of 0 or more")
    if stop_epoch is not None and 0 < stop_epoch <= start_epoch:
        raise ValueError(
            f"start_epoch={start_epoch}, stop_epoch={stop_epoch}: λ would be 0 in every epoch; "
            "choose a start before the stop"
        )
