"""The machine that ran something: its processor, cores, and versions of packages."""

from __future__ import annotations

import os
import platform
from collections.abc import Iterable
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any


def processor() -> str:
    """The processor's name."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    names = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next(names, "") or platform.machine()


def cores() -> int:
    """Cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def versions(packages: Iterable[str]) -> dict[str, str]:
    """Versions of Python and of those packages that are installed."""
    found = {"python": platform.python_version()}
    for package in packages:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            continue
    return found


def about(device: str) -> dict[str, Any]:
    """What a benchmark ran on: the device, the processor, its cores and threads, the versions."""
    import torch

    name = torch.cuda.get_device_name() if device.startswith("cuda") else processor()
    threads = torch.get_num_threads()
    return dict(
        hardware=dict(device=name, processor=processor(), cores=cores(), threads=threads),
        versions=versions(["torch", "timm"]),
    )
