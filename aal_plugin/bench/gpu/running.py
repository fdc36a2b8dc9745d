"""Runs parts one by one, each in a process of its own, with the time left."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path

from .results import file_of, is_done, read_result, write_result
from .scale import Scale

POLL = 0.2  # seconds
SAY_EVERY = 30.0  # seconds between progress lines, where the output is no terminal
LOG_WIDTH = 60


class Runner:
    """Runs those parts that have no result yet.

    A crash of the device ends one process, and so one part: the others run. Each part's output goes
    to a log file.

    Args:
        folder: of the results.
        logs: folder of the logs.
        command: of one part, by its name.
        minutes: a part that runs then is ended; later ones are left for the next run.
    """

    def __init__(
        self,
        folder: Path,
        logs: Path,
        scale: Scale,
        command: Callable[[str], list[str]],
        minutes: float,
    ) -> None:
        self.folder = folder
        self.logs = logs
        self.scale = scale
        self.command = command
        self.deadline = time.monotonic() + 60 * minutes
        self.minutes = minutes
        self._measured = self._expected = 0.0  # seconds of the parts that have run

    def run(self, parts: Mapping[str, float]) -> dict[str, str]:
        """Run parts, given with their expected seconds; returns the state of each, in words."""
        states: dict[str, str] = {}
        self.logs.mkdir(parents=True, exist_ok=True)
        for number, (name, seconds) in enumerate(parts.items(), start=1):
            label = f"[{number}/{len(parts)}] {name}"
            if is_done(self.folder, name, self.scale):
                states[name] = "done in an earlier run"
            elif time.monotonic() >= self.deadline:
                states[name] = f"not run: the {self.minutes:g} minutes are over; run this again"
            else:
                later = list(parts.values())[number:]
                states[name] = self._run_one(label, name, seconds, sum(later))
            _say(f"{label}: {states[name]}", end="\n")
        return states

    def _run_one(self, label: str, name: str, expected: float, later: float) -> str:
        file_of(self.folder, name).unlink(missing_ok=True)
        started = time.monotonic()
        log = self.logs / f"{name}.log"
        with log.open("w") as output:
            process = subprocess.Popen(
                self.command(name),
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                env={**os.environ, "PYTHONUNBUFFERED": "1"},
            )
            try:
                over = self._wait(process, label, started, expected, later, log)
            finally:  # interrupted, or over time: with all that it has started
                _end(process)
        seconds = time.monotonic() - started
        self._measured += seconds
        self._expected += expected
        result = read_result(self.folder, name, self.scale)
        if result is None:
            status = process.returncode
            error = (
                f"ended after {seconds:.0f} s, because the {self.minutes:g} minutes are over"
                if over
                else f"the process ended with status {status}: {_last_line(log)}"
            )
            write_result(self.folder, name, self.scale, seconds, None, error)
            return f"failed: {error} (see {log})"
        if result["error"] is not None:
            return f"failed: {result['error']} (see {log})"
        return f"done in {seconds:.0f} s"

    def _wait(
        self,
        process: subprocess.Popen,
        label: str,
        started: float,
        expected: float,
        later: float,
        log: Path,
    ) -> bool:
        """Wait for the process; returns whether its time was over."""
        terminal = sys.stdout.isatty()
        said = float("-inf")
        while process.poll() is None:
            now = time.monotonic()
            if now >= self.deadline:
                return True
            if now - said >= (1.0 if terminal else SAY_EVERY):
                said = now
                left = self.time_left(now - started, expected, later)
                words = f"{now - started:.0f} s, about {left / 60:.0f} min left in all"
                _say(f"{label}: {words}; {_last_line(log)[:LOG_WIDTH]}", "" if terminal else "\n")
            time.sleep(POLL)
        return False

    def time_left(self, elapsed: float, expected: float, later: float) -> float:
        """Seconds left: expected ones, at the pace of the parts that have run."""
        pace = self._measured / self._expected if self._expected else 1.0
        return max(0.0, pace * expected - elapsed) + pace * later


def _say(text: str, end: str) -> None:
    start = "\r\033[K" if sys.stdout.isatty() else ""
    print(f"{start}{text}", end=end, flush=True)


def _last_line(log: Path) -> str:
    with log.open("rb") as file:
        file.seek(max(0, log.stat().st_size - 2000))
        text = file.read().decode(errors="replace").replace("\r", "\n")
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return lines[-1] if lines else ""


def _end(process: subprocess.Popen) -> None:
    """End a process and the processes that it started."""
    for sent, seconds in ((signal.SIGTERM, 5.0), (signal.SIGKILL, 5.0)):
        if process.poll() is not None:
            return
        os.killpg(process.pid, sent)
        try:
            process.wait(seconds)
        except subprocess.TimeoutExpired:
            continue
