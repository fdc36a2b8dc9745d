"""What looks wrong in a run: warnings, each with what to do about it."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence

import numpy as np

from aal_plugin.analysis.runs import (
    GUIDANCE_DISTANCE,
    GUIDANCE_LOSS,
    LINK_DISTANCE,
    LINK_WEIGHT,
    TEACHER_TOP1,
    TOP1,
)

from .runs import RecordedRun

_FAR_BELOW = 5.0  # points of top-1
_UNCHANGED = 1e-5  # of their size at the start; LinkHeatmapHook records six digits


def warnings_of(run: RecordedRun, dead_levels: Sequence[int] = ()) -> list[str]:
    """Warnings about one run; of its sheets, the levels, from 1, whose maps were constant."""
    found = [text for check in CHECKS for text in check(run)]
    if dead_levels:
        found.append(
            f"Dead teacher level: the maps of level {', '.join(map(str, dead_levels))} are "
            "constant on every image of the sheets, so its links learn nothing. Check the "
            "teacher's weights and teacher.layers."
        )
    return found


def _not_finite(run: RecordedRun) -> Iterator[str]:
    weights = dict(zip(*run.curves.get(LINK_WEIGHT, ((), ()))))
    for key, (epochs, values) in run.curves.items():
        bad = epochs[~np.isfinite(values)]
        # timm writes NaN for the distance of an epoch without links.
        without_links = key == LINK_DISTANCE and not any(weights.get(epoch, 1) for epoch in bad)
        if len(bad) and not without_links:
            yield (
                f"NaN or infinite: {key} is not finite from {run.unit} {bad[0]} on. Lower the "
                "learning rate or λ, or train with --amp off; FiniteLossHook stops such a run."
            )


def _weight_never_decayed(run: RecordedRun) -> Iterator[str]:
    if LINK_WEIGHT not in run.curves:
        return
    epochs, values = run.curves[LINK_WEIGHT]
    how = "default_hooks = dict(aal=dict(type='LambdaDecayHook', final=0.0178))."
    if len(epochs) > 1 and values[0] > 0 and np.ptp(values) == 0:
        hook = "" if run.scheduled else " The config has no LambdaDecayHook."
        yield (
            f"λ never decayed: it is {values[0]:g} in all {len(epochs)} {run.unit}s.{hook} The "
            f"paper lowers it to 0.018 of its start: {how}"
        )
    elif not run.scheduled:
        yield f"No LambdaDecayHook: λ stays at its start. Add {how}"


def _distance_never_fell(run: RecordedRun) -> Iterator[str]:
    guidance = GUIDANCE_DISTANCE if GUIDANCE_DISTANCE in run.curves else GUIDANCE_LOSS
    parts = ((LINK_DISTANCE, "L_att", "links"), (guidance, "The guidance", "convolutions"))
    for key, name, trained in parts:
        values = run.curves.get(key, ((), np.array([])))[1]
        values = values[np.isfinite(values)]
        if len(values) > 1 and values[-1] >= values[0]:
            yield (
                f"{name} did not fall: {values[0]:.3g} at first, {values[-1]:.3g} at last. Its "
                f"{trained} learn nothing; check its weight, the learning rate, and that the "
                f"optimizer trains the {trained}."
            )


def _weak_teacher(run: RecordedRun) -> Iterator[str]:
    """Far below its own run, or, where that is not known, below its student."""
    teacher, own, student = run.last(TEACHER_TOP1), run.teacher_own_top1, run.best(TOP1)
    expected, whose = (student, "student") if own is None else (own, "own run")
    if teacher is not None and expected is not None and teacher < expected - _FAR_BELOW:
        yield (
            f"Weak teacher: its top-1 on the validation set is {teacher:.1f}%, and its {whose} "
            f"reached {expected:.1f}%, {expected - teacher:.1f} points more. Check the teacher's "
            "preprocessing (mean, std, RGB order), its classes and its checkpoint."
        )


def _random_teacher(run: RecordedRun) -> Iterator[str]:
    if re.search(r"random_\w+ True", run.facts.get("Teacher", "")):
        yield (
            "Random teacher: allow_random_weights is set, so the links learn noise. That is for "
            "tests; give the teacher pretrained=True or a checkpoint."
        )


def _unmoved_links(run: RecordedRun) -> Iterator[str]:
    links = run.links.by_epoch
    if len(links) < 2:
        return
    first, last = min(links), max(links)
    moved = np.nanmax(np.abs(links[last] - links[first]), axis=1)
    dead = [level for level, change in enumerate(moved, start=1) if change <= _UNCHANGED]
    if dead:
        yield (
            f"Dead teacher level: the links of level {', '.join(map(str, dead))} did not change "
            f"between epoch {first} and {last}. Its maps may be constant; check the teacher's "
            "weights and teacher.layers."
        )


def _unfinished(run: RecordedRun) -> Iterator[str]:
    reached = max((int(epochs[-1]) for epochs, _ in run.curves.values()), default=0)
    if reached and run.planned is not None and reached < run.planned:
        yield (
            f"Not finished: the log ends at {run.unit} {reached} of {run.planned}. The run goes "
            "on, or was stopped; --resume continues it."
        )


CHECKS: tuple[Callable[[RecordedRun], Iterator[str]], ...] = (
    _not_finite,
    _weight_never_decayed,
    _distance_never_fell,
    _weak_teacher,
    _random_teacher,
    _unmoved_links,
    _unfinished,
)
