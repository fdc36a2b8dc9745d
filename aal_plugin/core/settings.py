"""Checks of settings. Each error names the key, the value given, and what is allowed."""

from __future__ import annotations

import math
from collections.abc import Sequence
from numbers import Integral, Real
from typing import Any


def check_number(
    key: str,
    value: Any,
    allowed: str,
    low: float = -math.inf,
    high: float = math.inf,
    above: float = -math.inf,
) -> None:
    """Raise ValueError unless value is a finite number from low to high, and more than `above`.

    `allowed` says this in words, for the error.
    """
    number = isinstance(value, Real) and not isinstance(value, bool)
    if not number or not math.isfinite(value) or not low <= value <= high or value <= above:
        raise ValueError(f"{key}={value!r}; choose {allowed}")


def check_whole(key: str, value: Any, low: int) -> None:
    """Raise ValueError unless value is a whole number, at least `low`."""
    if isinstance(value, bool) or not isinstance(value, Integral) or value < low:
        raise ValueError(f"{key}={value!r}; choose a whole number, {low} or more")


def check_flag(key: str, value: Any) -> None:
    """Raise ValueError unless value is True or False."""
    if not isinstance(value, bool):
        raise ValueError(f"{key}={value!r}; choose True or False")


def check_choice(key: str, value: Any, choices: Sequence[str]) -> None:
    """Raise ValueError unless value is one of the choices."""
    if not isinstance(value, str) or value not in choices:
        raise ValueError(f"{key}={value!r}; choose one of {list(choices)}")
