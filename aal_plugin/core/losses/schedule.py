"""λ, the weight of the attention-link loss, as a function of the epoch (AAL, section 3.3.2)."""

from __future__ import annotations

import math
from collections.abc import Sequence
from numbers import Integral, Real
from typing import Any

from aal_plugin.core.settings import check_number, check_whole

Gammas = float | Sequence[float]

# The paper's course of λ is γ = 0.99 for 200 epochs, then γ = 0.98 for 100: what is left of λ.
PAPER_FINAL = 0.99**200 * 0.98**100  # 0.0178


def link_weight(
    epoch: int,
    base: float,
    gammas: Gammas,
    milestones: Sequence[int] = (),
    stop_epoch: int | None = None,
    start_epoch: int = 0,
    warmup_epochs: int = 0,
) -> float:
    """λ_e = base · Π γ, the product over all epochs before `epoch`.

    λ depends on the epoch alone, so a resumed run has the λ of an unbroken one.

    Args:
        epoch: epoch, counted from 0.
        base: λ of epoch 0 without warm-up; the paper uses 2000.
        gammas: decay per epoch. gammas[i] applies from milestones[i-1] up to, not including,
            milestones[i]. One number applies to all epochs.
        milestones: epochs at which the next gamma starts.
        stop_epoch: λ is 0 from this epoch on.
        start_epoch: λ is 0 before this epoch. The decay still counts from epoch 0.
        warmup_epochs: number of epochs, from `start_epoch` on, in which λ rises linearly: of w
            epochs, the first has 1/(w+1) of the weight and the last w/(w+1).

    For a run of another length than 300 epochs, `paper_course` returns gammas and milestones.

    Example:
        >>> link_weight(0, 2000.0, (0.99, 0.98), (200,))  # the paper
        2000.0
        >>> round(link_weight(299, 2000.0, (0.99, 0.98), (200,)), 1)
        36.3
        >>> [link_weight(epoch, 8.0, 1.0, warmup_epochs=3) for epoch in range(5)]
        [2.0, 4.0, 6.0, 8.0, 8.0]
        >>> [round(link_weight(epoch, 2000.0, *paper_course(100))) for epoch in (0, 67, 100)]
        [2000, 268, 36]
    """
    if epoch < start_epoch or (stop_epoch is not None and epoch >= stop_epoch):
        return 0.0
    weight = base * min(1.0, (epoch - start_epoch + 1) / (warmup_epochs + 1))
    starts = (0, *milestones)
    ends = (*milestones, epoch)
    for gamma, start, end in zip(_as_tuple(gammas), starts, ends):
        weight *= gamma ** max(0, min(end, epoch) - start)
    return weight


def paper_course(
    epochs: float, final: float = PAPER_FINAL
) -> tuple[tuple[float, ...], tuple[int, ...]]:
    """The paper's course of λ over 300 epochs, stretched over a run of any length.

    The first gamma applies to two thirds of the run, rounded to whole epochs, and lowers λ by the
    same factor as the paper's 200 epochs. The second gamma applies to the rest. Another `final`
    raises both factors to one power, so the course keeps its shape. After the run λ stays: epochs
    that come on top, such as a cool-down, have `final` of its start.

    Args:
        epochs: length of the run. Loops by iteration may have a fraction of an epoch.
        final: share of the start that is left of λ when the run ends, in (0, 1]. The paper's is
            0.99²⁰⁰ · 0.98¹⁰⁰ = 0.0178. With 1, λ is constant.

    Returns:
        `gammas` and `milestones` of `link_weight`.

    Example:
        >>> paper_course(300)
        ((0.99, 0.98, 1.0), (200, 300))
        >>> course = paper_course(20, final=0.02)
        >>> [round(link_weight(epoch, 1.0, *course), 3) for epoch in (0, 13, 20, 30)]
        [1.0, 0.142, 0.02, 0.02]
    """
    check_number("epochs", epochs, "a number above 0", above=0)
    check_final(final)
    if epochs <= 1:
        return (final, 1.0), (1,)
    power = math.log(final) / math.log(PAPER_FINAL)
    milestone = round(epochs * 200 / 300)
    first = 0.99 ** (power * 200 / milestone)
    second = 0.98 ** (power * 100 / (epochs - milestone))
    # λ is set at whole epochs, so the part of an epoch at the end has a gamma of its own.
    whole = math.floor(epochs)
    phases = [(first, milestone), (second, whole), (second ** (epochs - whole), math.ceil(epochs))]
    starts = (0, milestone, whole)
    used = [(gamma, end) for (gamma, end), start in zip(phases, starts) if end > start]
    return (*(gamma for gamma, _ in used), 1.0), tuple(end for _, end in used)


def check_final(final: float) -> None:
    """Raise ValueError unless final is a number above 0 and at most 1."""
    allowed = "a number above 0 and at most 1; for λ = 0 set stop_epoch"
    check_number("final", final, allowed, high=1, above=0)


def check_schedule(
    gammas: Gammas,
    milestones: Sequence[int],
    stop_epoch: int | None = None,
    start_epoch: int = 0,
    warmup_epochs: int = 0,
) -> None:
    """Raise ValueError unless these settings of `link_weight` describe a schedule.

    Example:
        >>> check_schedule((0.99, 0.98), (200,), warmup_epochs=5)
        >>> check_schedule((0.99, 0.98), ())
        Traceback (most recent call last):
            ...
        ValueError: gammas=(0.99, 0.98), milestones=(): 0 milestones need 1 gammas, got 2
    """
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
    if stop_epoch is not None:
        check_whole("stop_epoch", stop_epoch, 0)
    check_whole("start_epoch", start_epoch, 0)
    check_whole("warmup_epochs", warmup_epochs, 0)
    if stop_epoch is not None and 0 < stop_epoch <= start_epoch:
        raise ValueError(
            f"start_epoch={start_epoch}, stop_epoch={stop_epoch}: λ would be 0 in every epoch; "
            "choose a start before the stop"
        )


def _as_tuple(values: Any) -> tuple[Any, ...]:
    return tuple(values) if isinstance(values, (list, tuple)) else (values,)


def _is(kind: type, value: Any) -> bool:
    return isinstance(value, kind) and not isinstance(value, bool)
