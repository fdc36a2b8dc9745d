"""Where a step's time goes on the device, kernel by kernel."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import torch
from torch.autograd import DeviceType
from torch.profiler import ProfilerActivity, profile

from aal_plugin.bench import Steps
from aal_plugin.bench.timing import Step

from .processes import Place
from .scale import Scale

TOP = 40
WARMUP = 3
PARTS_OF_AAL = ("student", "teacher")


def profile_kernels(scale: Scale, place: Place) -> dict[str, Any]:
    """Profile the student's step, the teacher's forward pass and AAL's step, eagerly.

    Returns:
        For each its milliseconds of wall clock and of kernels, the share of time without a kernel
        (`idle`), and its longest kernels; and `added`: the kernels that AAL's step runs longer
        than student and teacher together, which are those of the links.
    """
    made = Steps(scale.setting())
    makers = dict(student=made.plain, teacher=made.teacher, aal=made.aal)
    found, rows = {}, {}
    for name, make in makers.items():
        rows[name], seconds = kernels_of(make(), scale.profiled_steps, scale.device)
        found[name] = summary(rows[name], 1e3 * seconds)
        print(as_text(name, found[name]), flush=True)
    return dict(**found, added=added_kernels(rows))


def added_kernels(rows: dict[str, dict[str, dict[str, float]]]) -> list[dict[str, Any]]:
    """Kernels that AAL's step runs longer than student and teacher together, longest first.

    Example:
        >>> student, teacher = dict(a=dict(calls=1.0, ms=2.0)), dict(a=dict(calls=1.0, ms=1.0))
        >>> aal = dict(a=dict(calls=2.0, ms=3.0), b=dict(calls=1.0, ms=0.5))
        >>> added_kernels(dict(student=student, teacher=teacher, aal=aal))
        [{'kernel': 'b', 'ms': 0.5}]
    """
    own = {
        kernel: row["ms"] - sum(rows[name].get(kernel, {}).get("ms", 0.0) for name in PARTS_OF_AAL)
        for kernel, row in rows["aal"].items()
    }
    longest = sorted(own.items(), key=lambda item: -item[1])[:TOP]
    return [dict(kernel=kernel, ms=ms) for kernel, ms in longest if ms > 0]


def kernels_of(step: Step, steps: int, device: str) -> tuple[dict[str, dict[str, float]], float]:
    """Calls and milliseconds of each kernel in one step, and the step's seconds of wall clock.

    On a CPU, operators stand in for kernels.
    """
    on_gpu = device.startswith("cuda")
    wait: Callable[[], object] = torch.cuda.synchronize if on_gpu else lambda: None
    for _ in range(WARMUP):
        step()
    wait()
    started = time.perf_counter()
    for _ in range(steps):
        step()
    wait()
    seconds = (time.perf_counter() - started) / steps  # without the profiler, which costs time
    activities = [ProfilerActivity.CPU, *([ProfilerActivity.CUDA] if on_gpu else [])]
    with profile(activities=activities) as profiler:
        for _ in range(steps):
            step()
        wait()
    kind = DeviceType.CUDA if on_gpu else DeviceType.CPU
    rows: dict[str, dict[str, float]] = {}
    for event in profiler.key_averages():
        # An annotation, such as an optimizer's step, spans kernels that are listed too.
        if event.device_type != kind or getattr(event, "is_user_annotation", False):
            continue
        taken = event.self_device_time_total if on_gpu else event.self_cpu_time_total
        row = rows.setdefault(event.key, dict(calls=0.0, ms=0.0))
        row["calls"] += event.count / steps
        row["ms"] += taken / 1e3 / steps
    return rows, seconds


def summary(rows: dict[str, dict[str, float]], wall_ms: float) -> dict[str, Any]:
    """Totals, and the longest kernels with their share of all kernels' time.

    Example:
        >>> found = summary(dict(a=dict(calls=2.0, ms=1.0), b=dict(calls=1.0, ms=3.0)), wall_ms=5.0)
        >>> found["idle"], found["kernels"][0]["kernel"], found["kernels"][0]["share"]
        (0.2, 'b', 0.75)
    """
    total = sum(row["ms"] for row in rows.values())
    longest = sorted(rows.items(), key=lambda item: -item[1]["ms"])[:TOP]
    return dict(
        wall_ms=wall_ms,
        kernel_ms=total,
        idle=max(0.0, 1 - total / wall_ms),
        launches=sum(row["calls"] for row in rows.values()),
        kernels=[
            dict(kernel=name, **row, share=row["ms"] / total if total else 0.0)
            for name, row in longest
        ],
    )


def as_text(name: str, found: dict[str, Any]) -> str:
    """A table of the longest kernels."""
    lines = [
        f"{name}: {found['wall_ms']:.2f} ms a step, kernels {found['kernel_ms']:.2f} ms, "
        f"{found['launches']:.0f} launches, idle {found['idle']:.1%}"
    ]
    for row in found["kernels"]:
        lines.append(f"{row['ms']:9.3f} ms {row['share']:6.1%} {row['calls']:7.1f} {row['kernel']}")
    return "\n".join(lines)
