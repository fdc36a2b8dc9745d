"""What looks wrong in a run: warnings, each with what to do about it."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np

from .recorded_run import LINK_DISTANCE, LINK_WEIGHT, TEACHER_TOP1, TOP1, RecordedRun

_FAR_BELOW = 5.0  # points of top-1
_UNCHANGED = 1e-6  # of a mean magnitude; LinkHeatmapHook records six digits


def warnings_of(run: RecordedRun, dead_levels: tuple[int, ...] = ()) -> list[str]:
    """Warnings about one run, in plain words.

    Args:
        run: the run.
        dead_levels: teacher levels, from 1, whose maps were constant on the images of the sheets.
    """
    found = [text for check in CHECKS for text in check(run)]
    if dead_levels:
        levels = ", ".join(map(str, dead_levels))
        found.append(
            f"Dead teacher level: the maps of level {levels} are constant on every image of the "
            "sheets, so its links learn nothing. Check the teacher's weights and teacher.layers."
        )
    return found


def not_finite(run: RecordedRun) -> Iterator[str]:
    """NaN or infinite values in the log."""
    for key, (epochs, values) in run.curves.items():
        bad = epochs[~np.isfinite(values)]
        # timm writes NaN for the distance of an epoch without links.
        if len(bad) and not (key == LINK_DISTANCE and not _weight_at(run, bad).any()):
            yield (
                f"NaN or infinite: {key} is not finite from {run.unit} {bad[0]} on. Lower the "
                "learning rate or λ, or train with --amp off; FiniteLossHook stops such a run."
            )


def weight_never_decayed(run: RecordedRun) -> Iterator[str]:
    """λ has one value in all epochs."""
    if LINK_WEIGHT not in run.curves:
        return
    epochs, values = run.curves[LINK_WEIGHT]
    if len(epochs) > 1 and values[0] > 0 and np.ptp(values) == 0:
        hook = "" if run.scheduled else " The config has no LambdaDecayHook."
        yield (
            f"λ never decayed: it is {values[0]:g} in all {len(epochs)} {run.unit}s.{hook} The "
            "paper lowers it to 0.018 of its start: "
            "default_hooks = dict(aal=dict(type='LambdaDecayHook', final=0.0178))."
        )
    elif not run.scheduled:
        yield (
            "No LambdaDecayHook: λ stays at its start. Add default_hooks = "
            "dict(aal=dict(type='LambdaDecayHook', final=0.0178))."
        )


def distance_never_fell(run: RecordedRun) -> Iterator[str]:
    """L_att at the end is not below L_att at the start."""
    if LINK_DISTANCE not in run.curves:
        return
    values = run.curves[LINK_DISTANCE][1]
    values = values[np.isfinite(values)]
    if len(values) > 1 and values[-1] >= values[0]:
        yield (
            f"L_att did not fall: {values[0]:.3g} at first, {values[-1]:.3g} at last. The links "
            "learn nothing; check λ, the learning rate, and that the optimizer trains the links."
        )


def weak_teacher(run: RecordedRun) -> Iterator[str]:
    """The teacher's top-1 on the validation set is far below what it should be."""
    teacher = run.last(TEACHER_TOP1)
    if teacher is None:
        return
    own, student = run.teacher_own_top1, run.best(TOP1)
    if own is not None and teacher < own - _FAR_BELOW:
        below, than = own, f"its own run reached {own:.1f}%"
    elif own is None and student is not None and teacher < student - _FAR_BELOW:
        below, than = student, f"its student reached {student:.1f}%"
    else:
        return
    yield (
        f"Weak teacher: its top-1 on the validation set is {teacher:.1f}%, and {than}, "
        f"{below - teacher:.1f} points more. Check the teacher's preprocessing (mean, std, RGB "
        "order), its classes and its checkpoint."
    )


def random_teacher(run: RecordedRun) -> Iterator[str]:
    """The teacher has no trained weights."""
    if "random weights" in run.facts.get("Teacher", ""):
        yield (
            "Random teacher: allow_random_weights is set, so the links learn noise. That is for "
            "tests; give the teacher pretrained=True or a checkpoint."
        )


def unmoved_links(run: RecordedRun) -> Iterator[str]:
    """A level's links are zero, or never changed while λ was above 0."""
    if len(run.links) < 2:
        return
    first, last = run.links[min(run.links)], run.links[max(run.links)]
    moved = np.nanmax(np.abs(last - first), axis=1)
    dead = [level for level, change in enumerate(moved, start=1) if change <= _UNCHANGED]
    if dead:
        levels = ", ".join(map(str, dead))
        yield (
            f"Dead teacher level: the links of level {levels} did not change between epoch "
            f"{min(run.links)} and {max(run.links)}. Its maps may be constant; check the "
            "teacher's weights and teacher.layers."
        )


def unfinished(run: RecordedRun) -> Iterator[str]:
    """The log ends before the planned length."""
    if run.planned is None or not run.curves:
        return
    reached = max(int(epochs[-1]) for epochs, _ in run.curves.values())
    if reached < run.planned:
        yield (
            f"Not finished: the log ends at {run.unit} {reached} of {run.planned}. The run goes "
            "on, or was stopped; --resume continues it."
        )


CHECKS: tuple[Callable[[RecordedRun], Iterator[str]], ...] = (
    not_finite,
    weight_never_decayed,
    distance_never_fell,
    weak_teacher,
    random_teacher,
    unmoved_links,
    unfinished,
)


def _weight_at(run: RecordedRun, epochs: np.ndarray) -> np.ndarray:
    """λ at these epochs; 1 where it was not logged."""
    if LINK_WEIGHT not in run.curves:
        return np.ones(len(epochs))
    by_epoch = dict(zip(*run.curves[LINK_WEIGHT]))
    return np.array([by_epoch.get(epoch, 1.0) for epoch in epochs])
