"""Random draws of Python, NumPy and torch together: seeded, and left as they were."""

from __future__ import annotations

import random
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import torch


def seed_draws(*numbers: int) -> None:
    """Seed all three by several numbers, such as a seed and an image's index."""
    seed = int(np.random.SeedSequence(numbers).generate_state(1)[0])
    random.seed(seed)
    np.random.seed(seed)
    torch.default_generator.manual_seed(seed)


@contextmanager
def draws_restored() -> Iterator[None]:
    """Afterwards the draws go on as before.

    Example:
        >>> first, second = [], []
        >>> for found in (first, second):
        ...     with draws_restored():
        ...         seed_draws(0, 7, 2)
        ...         found += [random.random(), np.random.rand(), torch.rand(1)]
        >>> first == second
        True
    """
    python, numpy, state = random.getstate(), np.random.get_state(), torch.get_rng_state()
    try:
        yield
    finally:
        random.setstate(python)
        np.random.set_state(numpy)
        torch.set_rng_state(state)
