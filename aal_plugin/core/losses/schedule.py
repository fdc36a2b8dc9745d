"""λ, the weight of the attention-link loss, as a function of the epoch (AAL, section 3.3.2)."""

from __future__ import annotations

from collections.abc import Sequence
from numbers import Integral, Real
from typing import Any

Gammas = float | Sequence[float]


def link_weight(
    epoch: int,
    base: float,
    gammas: Gammas,
    milestones: Sequence[int] = (),
    stop_epoch: int | None = None,
    start_epoch: int = 0,
) -> float:
    """λ_e = base · Π γ over the epochs before `epoch` (0-based); 0 from `stop_epoch` on.

    Before `start_epoch` it is 0 too; the decay is counted from epoch 0 all the same.

    gammas[i] holds for the epochs from milestones[i-1] up to, not including, milestones[i]; one
    number holds for all epochs. The paper's default: base 2000, gammas (0.99, 0.98),
    milestones (200,).

    >>> link_weight(0, 2000.0, (0.99, 0.98), (200,))
    2000.0
    """
    if epoch < start_epoch or (stop_epoch is not None and epoch >= stop_epoch):
        return 0.0
    weight = base
    starts = (0, *milestones)
    ends = (*milestones, epoch)
    for gamma, start, end in zip(_as_tuple(gammas), starts, ends):
        weight *= gamma ** max(0, min(end, epoch) - start)
    return weight


def check_schedule(
    gammas: Gammas,
    milestones: Sequence[int],
    stop_epoch: int | None = None,
    start_epoch: int = 0,
) -> None:
    """Raise ValueError unless the four describe a schedule, naming what does not fit."""
    gammas, milestones = _as_tuple(gammas), _as_tuple(milestones)
    given = f"gammas={gammas}, milestones={milestones}"
    if not all(_is(Real, gamma) and 0 <= gamma <= 1 for gamma in gammas):
        raise ValueError(f"{given}: every gamma must be a number in [0, 1]")
    if not all(_is(Integral, milestone) for milestone in milestones):
        raise ValueError(f"{given}: every milestone must be an epoch, a whole number")
    if len(gammas) != len(milestones) + 1:
        raise ValueError(
            f"{given}: {len(milestones)} milestones need {len(milestones) + 1} gammas, "
            f"got {len(gammas)}"
        )
    if any(b <= a for a, b in zip((0, *milestones), milestones)):
        raise ValueError(f"{given}: milestones must be positive epochs in ascending order")
    if stop_epoch is not None and not (_is(Integral, stop_epoch) and stop_epoch >= 0):
        raise ValueError(f"stop_epoch={stop_epoch!r}; give an epoch of 0 or more, or None")
    if not (_is(Integral, start_epoch) and start_epoch >= 0):
        raise ValueError(f"start_epoch={start_epoch!r}; give an epoch of 0 or more")
    if stop_epoch is not None and 0 < stop_epoch <= start_epoch:
        raise ValueError(
            f"start_epoch={start_epoch}, stop_epoch={stop_epoch}: λ would be 0 in every epoch; "
            "choose a start before the stop"
        )


def _as_tuple(values: Any) -> tuple[Any, ...]:
    return tuple(values) if isinstance(values, (list, tuple)) else (values,)


def _is(kind: type, value: Any) -> bool:
    return isinstance(value, kind) and not isinstance(value, bool)
