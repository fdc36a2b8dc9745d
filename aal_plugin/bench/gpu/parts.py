"""The parts, in the order in which they run, and how one of them runs."""

from __future__ import annotations

import time
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

from .input_pipeline import measure_input
from .kernels import profile_kernels
from .processes import Place, run_benchmark, run_compiled_benchmark, run_tests
from .results import PartFailed, write_result
from .scale import Scale
from .study import train_linked, train_plain, train_teacher


class Part(NamedTuple):
    """A part: what it does, and the seconds that it is expected to take on an H200.

    The seconds are estimates, for the time left. No part was timed on a GPU.
    """

    seconds: float
    run: Callable[[Scale, Place], dict[str, Any]]


PARTS = dict(
    tests=Part(180, run_tests),
    benchmark=Part(180, run_benchmark),
    benchmark_compiled=Part(330, run_compiled_benchmark),
    kernels=Part(30, profile_kernels),
    input=Part(75, measure_input),
    study_teacher=Part(110, train_teacher),
    study_plain=Part(150, train_plain),
    study_aal=Part(230, train_linked),
)


def run_part(name: str, folder: Path, scale: Scale, place: Place) -> bool:
    """Run one part in this process and write its result; returns whether it succeeded."""
    place.work.mkdir(parents=True, exist_ok=True)
    started = time.perf_counter()
    result, error = None, None
    try:
        result = PARTS[name].run(scale, place)
    except PartFailed as failure:
        result, error = failure.result, str(failure)
    except Exception as failure:
        traceback.print_exc()
        error = f"{type(failure).__name__}: {failure}"
    write_result(folder, name, scale, time.perf_counter() - started, result, error)
    return error is None
