"""Settings of locality guidance: its weight, and which block learns from which level."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from .settings import check_number

# The authors' own: its weight, and the number of blocks that are guided.
WEIGHT = 2.5
_PAIRS = 4
_KEYS = ("weight", "blocks", "levels", "student_layers")

GuidanceSetting = float | Mapping[str, Any]


def guidance_settings(guidance: Any) -> dict[str, Any]:
    """The arguments of `Guidance` that a setting stands for: a weight, or a dict of them.

    Example:
        >>> guidance_settings(2.5), guidance_settings({"levels": [1, 4]})
        ({'weight': 2.5}, {'weight': 2.5, 'levels': [1, 4]})
    """
    given = dict(guidance) if isinstance(guidance, Mapping) else dict(weight=guidance)
    for key in given:
        if key not in _KEYS:
            raise ValueError(f"guidance has the key {key!r}; choose among {', '.join(_KEYS)}")
    name = "guidance.weight" if isinstance(guidance, Mapping) else "guidance"
    settings = dict(dict(weight=WEIGHT), **given)
    allowed = f"a weight, 0 or more (the published one is {WEIGHT})"
    if name == "guidance":
        allowed += f", or a dict of {', '.join(_KEYS)}"
    check_number(name, settings["weight"], allowed, low=0)
    return settings


def guidance_pairs(
    num_blocks: int,
    num_levels: int,
    blocks: Sequence[int] | None = None,
    levels: Sequence[int] | None = None,
) -> list[tuple[int, int]]:
    """(block, level) of each guided block, counted from 1.

    What is not given is spaced evenly from the first to the last, and rounded. Without both there
    are four pairs, or as many as the smaller side has.

    Example:
        >>> guidance_pairs(num_blocks=12, num_levels=7)
        [(1, 1), (5, 3), (8, 5), (12, 7)]
        >>> guidance_pairs(12, 4, levels=[3, 4])
        [(1, 3), (12, 4)]
    """
    sides = (("blocks", blocks, num_blocks, "student"), ("levels", levels, num_levels, "teacher"))
    for key, numbers, total, whose in sides:
        if numbers is None:
            continue
        allowed = f"one or more numbers from 1 to {total}, the {whose}'s {key}"
        if not isinstance(numbers, (list, tuple)) or not numbers:
            raise ValueError(f"guidance.{key}={numbers!r}; choose {allowed}")
        for number in numbers:  # type, not isinstance: True is no block
            if type(number) is not int or not 1 <= number <= total:
                raise ValueError(f"guidance.{key}: {number!r}; choose {allowed}")
    if blocks is not None and levels is not None and len(blocks) != len(levels):
        raise ValueError(
            f"guidance.blocks={list(blocks)} and guidance.levels={list(levels)}; give one level "
            "per block"
        )
    count = len(blocks or levels or ()) or min(_PAIRS, num_blocks, num_levels)
    return list(zip(blocks or _spaced(count, num_blocks), levels or _spaced(count, num_levels)))


def _spaced(count: int, total: int) -> list[int]:
    """Of 1 to `total`, `count` numbers from the first to the last; one number is the last."""
    if count == 1:
        return [total]
    return [1 + round(i * (total - 1) / (count - 1)) for i in range(count)]
