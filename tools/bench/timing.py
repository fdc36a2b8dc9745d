"""Times steps side by side, and measures their memory."""

from __future__ import annotations

import ctypes
import ctypes.util
import statistics
import time
from collections.abc import Callable, Hashable
from pathlib import Path
from typing import NamedTuple, TypeVar

import torch

Step = Callable[[], object]
Name = TypeVar("Name", bound=Hashable)


class Timing(NamedTuple):
    """Seconds of one step in each round."""

    seconds: list[float]

    @property
    def median(self) -> float:
        return statistics.median(self.seconds)

    def spread(self) -> list[float]:
        """First and third quartile."""
        if len(self.seconds) == 1:
            return self.seconds * 2
        first, _, third = statistics.quantiles(self.seconds, n=4, method="inclusive")
        return [first, third]


def interleave(
    steps: dict[Name, Step],
    rounds: int,
    warmup: int = 1,
    repeat: int = 1,
    device: str = "cpu",
    clock: Callable[[], float] = time.perf_counter,
    advance: Callable[[], object] = lambda: None,
) -> dict[Name, Timing]:
    """Time every step once per round, so that a busy period of the machine affects all steps.

    Args:
        repeat: steps within one measurement, between two synchronisations with the device.
        clock: `time.perf_counter`, or `time.process_time`: processor seconds of all threads,
            which depend little on other work on the machine.
        advance: called after every measurement and warm-up, for a progress bar.
    """
    names = list(steps)
    seconds: dict[Name, list[float]] = {name: [] for name in names}
    for turn in range(-warmup, rounds):
        shift = turn % len(names)  # vary which step runs before which
        for name in names[shift:] + names[:shift]:
            taken = _timed(steps[name], repeat if turn >= 0 else 1, device, clock)
            if turn >= 0:
                seconds[name].append(taken)
            advance()
    return {name: Timing(values) for name, values in seconds.items()}


def _timed(step: Step, repeat: int, device: str, clock: Callable[[], float]) -> float:
    _wait(device)
    started = clock()
    for _ in range(repeat):
        step()
    _wait(device)
    return (clock() - started) / repeat


def _wait(device: str) -> None:
    if device.startswith("cuda"):
        torch.cuda.synchronize()


def peak_memory(step: Step, device: str = "cpu") -> int | None:
    """Bytes that a step needs in addition to the memory in use before it.

    From CUDA's own counter; on Linux from the resident set, after free memory was returned to the
    system. None on other systems.
    """
    if device.startswith("cuda"):
        _wait(device)
        before = torch.cuda.memory_allocated()
        torch.cuda.reset_peak_memory_stats()
        step()
        _wait(device)
        return torch.cuda.max_memory_allocated() - before
    if not _reset_resident_peak():
        return None
    before = _resident("VmRSS")
    step()
    return _resident("VmHWM") - before


def _reset_resident_peak() -> bool:
    try:
        ctypes.CDLL(ctypes.util.find_library("c")).malloc_trim(0)
        Path("/proc/self/clear_refs").write_text("5")
    except (AttributeError, OSError, TypeError):  # not glibc, not Linux, or not allowed
        return False
    return True


def _resident(field: str) -> int:
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith(field))
