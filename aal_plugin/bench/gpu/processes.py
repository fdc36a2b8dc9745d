"""Parts that are programs of their own: the tests in tests/gpu, and tools/benchmark.py."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import xml.etree.ElementTree as ElementTree
from importlib.util import find_spec
from pathlib import Path
from typing import Any, NamedTuple

from .results import PartFailed
from .scale import Scale

DEVICE = "AAL_GPU_TESTS_DEVICE"  # environment variable of tests/gpu: cuda or cpu
# Eagerly, all rows are timed. Each compiled row takes up to a minute to compile.
COMPILED_ROWS = (
    "student step",
    "teacher forward",
    "aal step",
    "timm feature distillation",
    "straightforward aal",
)


class Place(NamedTuple):
    """Folders: the checkout or package with tools/, and one for files that are not results."""

    root: Path
    work: Path


def run_tests(scale: Scale, place: Place) -> dict[str, Any]:
    """Run tests/gpu with pytest.

    Returns:
        `passed`, `skipped` and `failed`, and `tests`, with the outcome and seconds of each.

    Raises:
        PartFailed: a test failed, or none passed.
        FileNotFoundError, ImportError: this is no checkout, or pytest is missing.
    """
    if not (place.root / "tests" / "gpu").is_dir():
        raise FileNotFoundError(f"{place.root}/tests/gpu is missing; run this in a checkout")
    if find_spec("pytest") is None:
        raise ImportError("the tests need pytest; install it with: pip install pytest")
    report = place.work / "tests.xml"
    report.unlink(missing_ok=True)
    command = [sys.executable, "-m", "pytest", "tests/gpu", "-v", "-p", "no:cacheprovider"]
    environment = {**os.environ, DEVICE: scale.device}
    subprocess.run([*command, f"--junitxml={report}"], cwd=place.root, env=environment)
    if not report.is_file():
        raise RuntimeError("pytest ended without a report; its log says why")
    result = read_report(report)
    if result["failed"] or not result["passed"]:
        raise PartFailed(f"{result['failed']} failed, {result['passed']} passed", result)
    return result


def read_report(report: Path) -> dict[str, Any]:
    """Counts and outcomes of a JUnit report."""
    tests = []
    for case in ElementTree.parse(report).iter("testcase"):
        outcomes = {"failure": "failed", "error": "failed", "skipped": "skipped"}
        found = [(outcomes[child.tag], child) for child in case if child.tag in outcomes]
        outcome, child = found[0] if found else ("passed", None)
        row = dict(name=case.get("name"), outcome=outcome, seconds=float(case.get("time", 0)))
        if child is not None:
            row["message"] = (child.get("message") or "")[:500]
        tests.append(row)
    counts = {
        outcome: sum(test["outcome"] == outcome for test in tests)
        for outcome in ("passed", "skipped", "failed")
    }
    return dict(**counts, tests=tests)


def run_benchmark(scale: Scale, place: Place) -> dict[str, Any]:
    """All rows of tools/benchmark.py, eagerly; returns its JSON."""
    return _benchmark(scale, place)


def run_compiled_benchmark(scale: Scale, place: Place) -> dict[str, Any]:
    """The rows that the goals need, compiled; returns the JSON of tools/benchmark.py."""
    return _benchmark(scale, place, "--compile", "--only", ",".join(COMPILED_ROWS))


def _benchmark(scale: Scale, place: Place, *options: str) -> dict[str, Any]:
    file = place.work / "benchmark.json"
    file.unlink(missing_ok=True)
    values = dict(
        student=scale.student,
        teacher=scale.teacher,
        batch=scale.batch,
        size=scale.size,
        classes=scale.classes,
        dtype=scale.dtype,
        device=scale.device,
        rounds=scale.rounds,
        repeat=scale.repeat,
    )
    command = [sys.executable, str(place.root / "tools" / "benchmark.py")]
    command += [f"--{name}={value}" for name, value in values.items()]
    environment = dict(os.environ)
    if scale.device == "cpu":  # the same calls, without minutes in a C++ compiler
        environment["TORCHDYNAMO_DISABLE"] = "1"
    subprocess.run(
        [*command, "--deit-teacher=", f"--json={file}", *options], env=environment, check=True
    )
    report = json.loads(file.read_text())
    # The file's own path is of no interest to a reader, and differs between machines.
    report["command"] = report["command"].replace(str(file), "out.json")
    return report
