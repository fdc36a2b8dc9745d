"""Stores the finished runs of a study in one JSON file, a line per run."""

from __future__ import annotations

import hashlib
import json
import subprocess
import threading
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from aal_plugin.analysis.runs import Curve, epochs_to_reach
from aal_plugin.files import write_whole

TOP1 = "accuracy/top1"
EPOCHS_TO = "epochs to "


@dataclass(frozen=True)
class Record:
    """A finished run.

    Attributes:
        arm: name of the study's arm.
        values: value of each setting.
        seed: seed of the run.
        config: hash of the config, without its seed; the file holds the text.
        weights: SHA-1 of the weights in the checkpoints that the config reads, by path.
        commit: of the checkout, with "-dirty" where files were changed; "" without git.
        versions: of Python and the packages.
        processor: name, and the number of threads of the training.
        seconds: wall-clock time of the run.
        test: metrics of the test images.
        curves: [epochs, values] by key of the log.
    """

    arm: str
    values: Mapping[str, str]
    seed: int
    config: str
    weights: Mapping[str, str]
    commit: str
    versions: Mapping[str, str]
    processor: str
    seconds: float
    test: Mapping[str, float]
    curves: Mapping[str, Sequence[Sequence[float]]] = field(default_factory=dict)

    def last(self, key: str) -> float:
        """The last value of a curve."""
        return self.curves[key][1][-1]

    def measure(self, key: str) -> float | None:
        """A metric of the test images, or one of the validation curve; None if the run has none.

        "epochs to 40" is the first measured epoch with a validation top-1 of 40% or more, "area"
        the mean of the curve over the epochs, from 0 at epoch 0.
        """
        if key in self.test or TOP1 not in self.curves:
            return self.test.get(key)
        epochs, values = (np.array([0.0, *side]) for side in self.curves[TOP1])
        if key == "area":
            return float(np.diff(epochs) @ (values[1:] + values[:-1]) / 2 / epochs[-1])
        if key.startswith(EPOCHS_TO):
            return epochs_to_reach((epochs, values), float(key.removeprefix(EPOCHS_TO)))
        return None


class Records:
    """The finished runs of one file. Threads may add to it at the same time.

    Args:
        path: JSON file; a missing one has no runs.

    Raises:
        ValueError: the file is not one of ours.
    """

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
        self.configs: dict[str, str] = {}
        self.runs: list[Record] = []
        self._lock = threading.Lock()
        if self.path.is_file():
            try:
                read = json.loads(self.path.read_text(encoding="utf-8"))
                self.configs = read["configs"]
                self.runs = [Record(**run) for run in read["runs"]]
            except (ValueError, KeyError, TypeError) as error:
                raise ValueError(f"{self.path} holds no results of a study: {error!r}") from None

    def __iter__(self) -> Iterator[Record]:
        return iter(self.runs)

    def find(self, config: str, seed: int) -> Record | None:
        """The run of a config's hash and a seed."""
        return next((run for run in self.runs if (run.config, run.seed) == (config, seed)), None)

    def add(self, run: Record, text: str) -> None:
        """Store a run and its config's text, and write the file whole.

        It replaces the run of the same arm, settings and seed, and those of an earlier config. Runs
        that the study has no place for, as it had other settings, stay.
        """
        with self._lock:
            *point, seed = _place(run)
            kept = [
                other
                for other in self.runs
                if _place(other)[:-1] != tuple(point)
                or (other.config == run.config and other.seed != seed)
            ]
            self.runs = sorted([*kept, run], key=_place)
            used = {run.config for run in self.runs}
            configs = {**self.configs, run.config: text}
            self.configs = {key: configs[key] for key in sorted(used)}
            self._write()

    def _write(self) -> None:
        configs = ",\n".join(f"{_json(key)}: {_json(text)}" for key, text in self.configs.items())
        runs = ",\n".join(_json(asdict(run)) for run in self.runs)
        self.path.parent.mkdir(parents=True, exist_ok=True)
        write_whole(self.path, f'{{"configs": {{\n{configs}\n}},\n"runs": [\n{runs}\n]}}\n')


def _json(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False, default=dict)


def _place(run: Record) -> tuple:
    return (run.arm, tuple(sorted(run.values.items())), run.seed)


def hash_of(text: str) -> str:
    """The short hash by which a config is stored."""
    return hashlib.sha1(text.encode()).hexdigest()[:12]


def rounded_curves(curves: Mapping[str, Curve]) -> dict[str, list[list[float]]]:
    """Curves as lists, five digits each."""
    return {
        key: [epochs.tolist(), [float(f"{value:.5g}") for value in values]]
        for key, (epochs, values) in curves.items()
    }


def commit() -> str:
    """The checkout's commit, with "-dirty" where files were changed; "" without git."""
    command = ["git", "-C", str(Path(__file__).parent), "describe", "--always", "--dirty"]
    try:
        done = subprocess.run(
            [*command, "--exclude=*"], capture_output=True, text=True, check=False
        )
    except OSError:
        return ""
    return done.stdout.strip()
