"""One JSON file per part, written as soon as the part has ended."""

from __future__ import annotations

import json
import os
import platform
from pathlib import Path
from typing import Any

import timm
import torch

from aal_plugin.files import write_whole

from .scale import Scale

DONE, FAILED = "done", "failed"


class PartFailed(Exception):
    """A part that ended with something to report: `result` is written beside the error."""

    def __init__(self, message: str, result: dict[str, Any]) -> None:
        super().__init__(message)
        self.result = result


def file_of(folder: Path, part: str) -> Path:
    """The file of a part's result."""
    return folder / f"{part}.json"


def write_result(
    folder: Path, part: str, scale: Scale, seconds: float, result: Any, error: str | None = None
) -> None:
    """Write a part's result, or its error."""
    content = dict(
        part=part,
        state=DONE if error is None else FAILED,
        error=error,
        seconds=round(seconds, 1),
        machine=machine(scale.device),
        scale=scale.as_json(),
        result=result,
    )
    folder.mkdir(parents=True, exist_ok=True)
    write_whole(file_of(folder, part), json.dumps(content, indent=1) + "\n")


def read_result(folder: Path, part: str, scale: Scale) -> dict[str, Any] | None:
    """A part's file; None if it is missing, damaged or of another scale."""
    try:
        content = json.loads(file_of(folder, part).read_text())
    except (OSError, ValueError):
        return None
    fits = isinstance(content, dict) and content.get("scale") == scale.as_json()
    return content if fits else None


def is_done(folder: Path, part: str, scale: Scale) -> bool:
    """Whether an earlier run completed the part at this scale."""
    content = read_result(folder, part, scale)
    return content is not None and content.get("state") == DONE


def machine(device: str) -> dict[str, Any]:
    """Hardware and versions."""
    found = dict(
        device=platform.processor() or platform.machine(),
        cores=cores(),
        python=platform.python_version(),
        torch=torch.__version__,
        timm=timm.__version__,
    )
    if device.startswith("cuda") and torch.cuda.is_available():
        properties = torch.cuda.get_device_properties(device)
        found.update(
            device=properties.name,
            device_memory_gib=round(properties.total_memory / 2**30, 1),
            cuda=torch.version.cuda,
        )
    return found


def cores() -> int:
    """Number of processor cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1
