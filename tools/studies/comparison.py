"""Means, spreads and paired differences of runs."""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence
from typing import NamedTuple

from .records import Record


class Difference(NamedTuple):
    """A paired difference of means, and its 95% confidence interval (NaN with one pair)."""

    mean: float
    low: float
    high: float
    pairs: int

    def __str__(self) -> str:
        if self.pairs < 2:
            return f"{self.mean:+.1f}"
        return f"{self.mean:+.1f} ({self.low:+.1f} to {self.high:+.1f})"


def mean_and_spread(values: Sequence[float]) -> str:
    """'70.3 ± 7.0': the mean and the sample standard deviation; the mean alone of one value.

    Example:
        >>> mean_and_spread([68.0, 70.0, 72.0]), mean_and_spread([68.0])
        ('70.0 ± 2.0', '68.0')
    """
    if len(values) < 2:
        return f"{values[0]:.1f}"
    return f"{statistics.mean(values):.1f} ± {statistics.stdev(values):.1f}"


def measures(runs: Sequence[Record], metric: str) -> list[float]:
    """A metric of the runs that have it."""
    return [value for run in runs if (value := run.measure(metric)) is not None]


def paired_difference(
    runs: Sequence[Record], others: Sequence[Record], metric: str
) -> Difference | None:
    """The difference of a metric between runs of the same seed, with Student's t interval.

    None without a common seed, and where two runs of one seed are no pair, see `are_a_pair`.
    """
    second = {run.seed: run for run in others}
    pairs = [(run, second[run.seed]) for run in runs if run.seed in second]
    if not all(are_a_pair(*pair) for pair in pairs):
        return None
    values = ((run.measure(metric), other.measure(metric)) for run, other in pairs)
    return difference_of([a - b for a, b in values if a is not None and b is not None])


def are_a_pair(run: Record, other: Record) -> bool:
    """Whether two runs of one seed differ in their configs alone.

    Another kind of processor rounds otherwise, and so ends elsewhere; and a teacher that was
    trained anew is another teacher.
    """
    same_teachers = all(
        other.weights.get(path, weights) == weights for path, weights in run.weights.items()
    )
    return run.processor == other.processor and same_teachers


def difference_of(values: Sequence[float]) -> Difference | None:
    """The mean of paired differences with its 95% confidence interval.

    Example:
        >>> print(difference_of([1.0, 2.0, 3.0]))
        +2.0 (-0.5 to +4.5)
    """
    if not values:
        return None
    mean = statistics.mean(values)
    if len(values) < 2:
        return Difference(mean, math.nan, math.nan, 1)
    from scipy.stats import t  # slow to import

    half = t.ppf(0.975, len(values) - 1) * statistics.stdev(values) / math.sqrt(len(values))
    return Difference(mean, mean - half, mean + half, len(values))
