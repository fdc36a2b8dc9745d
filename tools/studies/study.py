"""Reads a study: the configs, settings and seeds of one question, in a small YAML file.

The file, with the keys that most studies need; `Study` lists all of them::

    question: Does AAL help more than distillation, each with its own best recipe?
    first:                                # trained once, before the others
      teacher: {config: configs/shapes/quickstart_teacher.py}
    arms:
      plain: {config: configs/shapes/quickstart_plain.py}
      AAL: {config: configs/shapes/quickstart_aal.py}
    settings:                             # every arm runs with every combination
      lr:
        "0.001": {param_scheduler.eta_max: 0.001}
        "0.002": {param_scheduler.eta_max: 0.002}
    choose: [lr]                          # only the best one runs with all seeds
    seeds: [0, 1, 2, 3, 4]
"""

from __future__ import annotations

import difflib
import itertools
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import yaml

Options = dict[str, Any]

PROBES = ("linear probe", "nearest feature", "nearest image")

_KEYS = {
    **dict.fromkeys(("question", "answer", "baseline", "columns", "chart"), str),
    **dict.fromkeys(("first", "arms", "settings", "metrics"), dict),
    **dict.fromkeys(("choose", "seeds", "curves"), list),
    "choose_seeds": int,
}


@dataclass(frozen=True)
class Arm:
    """A config and what is changed in it.

    Attributes:
        config: file.
        options: as in `--cfg-options`, by dotted key; {seed} in a value is the run's seed, so that
            each seed may train on other images.
        seeds: how many of the study's seeds it runs with; by default all.
        only: the values of a setting that it runs with, by setting; by default all.
        probe: in place of a training, see `probes.probed`.
    """

    config: str
    options: Options = field(default_factory=dict)
    seeds: int | None = None
    only: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    probe: str = ""


@dataclass(frozen=True)
class Point:
    """An arm with one value of each setting."""

    arm: str
    values: tuple[tuple[str, str], ...] = ()

    def without(self, names: tuple[str, ...]) -> Point:
        """This point, with these settings left open."""
        return Point(self.arm, tuple(pair for pair in self.values if pair[0] not in names))

    def __str__(self) -> str:
        return ", ".join([self.arm, *(f"{name} {value}" for name, value in self.values)])


@dataclass(frozen=True)
class Study:
    """One question, its runs, and how its results are shown.

    Attributes:
        name: stem of the file.
        question: one sentence.
        answer: one sentence; {AAL} and {AAL - plain} stand for figures, see `tables.py`.
        first: arms that are trained before the others, with seed 0, such as a teacher.
        arms: by name.
        settings: options by setting and value.
        choose: settings of which only the best combination runs with all seeds. The best has the
            highest top-1 on the validation images.
        choose_seeds: number of seeds by which the best is chosen.
        seeds: seeds of every run.
        baseline: arm that the others are compared with, seed by seed.
        columns: setting whose values are the columns of the table.
        metrics: titles of the test metrics in the table, by their key in the log.
        curves: arms whose curves the figure shows; by default all.
        chart: 'dots' draws the first metric of every arm's seeds in place of curves.
    """

    name: str
    question: str
    arms: Mapping[str, Arm]
    seeds: tuple[int, ...]
    answer: str = ""
    first: Mapping[str, Arm] = field(default_factory=dict)
    settings: Mapping[str, Mapping[str, Options]] = field(default_factory=dict)
    choose: tuple[str, ...] = ()
    choose_seeds: int = 1
    baseline: str = ""
    columns: str = ""
    metrics: Mapping[str, str] = field(default_factory=lambda: {"accuracy/top1": "top-1"})
    curves: tuple[str, ...] = ()
    chart: str = ""

    def points(self) -> Iterator[Point]:
        """Every arm with every combination of its settings; a probe has none."""
        for name, arm in self.arms.items():
            names = [] if arm.probe else list(self.settings)
            values = [arm.only.get(setting, self.settings[setting]) for setting in names]
            for combination in itertools.product(*values):
                yield Point(name, tuple(zip(names, combination)))

    def options(self, point: Point) -> Options:
        """What a point changes in its arm's config."""
        options = dict(self.arms[point.arm].options)
        for name, value in point.values:
            options.update(self.settings[name][value])
        return options

    def by(self, setting: str) -> Study:
        """The same runs with a setting's values as the columns, whether they were chosen or not.

        Raises:
            ValueError: the study has no such setting.
        """
        _check_names(f"{self.name} by", [setting], self.settings)
        metric, title = next(iter(self.metrics.items()))
        return replace(
            self,
            name=f"{self.name}_{setting}",
            question=f"The same for every {setting}",
            answer="",
            choose=tuple(name for name in self.choose if name != setting),
            columns=setting,
            baseline="",
            metrics={metric: title},
        )

    def seeds_of(self, point: Point) -> tuple[int, ...]:
        """The seeds of a point; an arm may take fewer than the study."""
        return self.seeds[: self.arms[point.arm].seeds]


def read_study(path: str | Path) -> Study:
    """Read a study and check it.

    Raises:
        ValueError: names the file, the key, the value and what is allowed.
        FileNotFoundError: the file, or a config, does not exist.
    """
    path = Path(path)
    try:
        read = yaml.safe_load(path.read_text(encoding="utf-8"))
    except yaml.YAMLError as error:
        raise ValueError(f"{path} is not YAML: {error}") from None
    try:
        return _study(path.stem, read)
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from None


def _study(name: str, read: Any) -> Study:
    if not isinstance(read, dict):
        raise ValueError("a study is a mapping with the keys question, arms and seeds")
    for key, value in read.items():
        if key not in _KEYS:
            near = difflib.get_close_matches(str(key), _KEYS, n=1)
            hint = f"did you mean {near[0]!r}?" if near else f"choose from {sorted(_KEYS)}"
            raise ValueError(f"unknown key {key!r}; {hint}")
        if not isinstance(value, _KEYS[key]):
            raise ValueError(f"{key}={value!r}; choose a {_KEYS[key].__name__}")
    if missing := [key for key in ("question", "arms", "seeds") if not read.get(key)]:
        raise ValueError(f"{missing[0]} is missing")
    for group in ("arms", "first"):
        entries = read.get(group, {}).items()
        read[group] = {str(arm): _arm(f"{group}.{arm}", entry) for arm, entry in entries}
    read["settings"] = {
        str(setting): {
            str(value): _options(f"settings.{setting}.{value}", options)
            for value, options in values.items()
        }
        for setting, values in read.get("settings", {}).items()
    }
    for key in ("choose", "curves"):
        read[key] = tuple(map(str, read.get(key, ())))
    seeds = read["seeds"] = tuple(read["seeds"])
    if not all(isinstance(seed, int) for seed in seeds) or len(set(seeds)) < len(seeds):
        raise ValueError(f"seeds={list(seeds)}; choose different whole numbers")
    study = Study(name=name, **read)
    arms, settings = study.arms, study.settings
    for arm, entry in arms.items():
        _check_names(f"arms.{arm}.only", entry.only, settings)
        for setting, values in entry.only.items():
            _check_names(f"arms.{arm}.only.{setting}", values, settings[setting])
    _check_names("choose", study.choose, settings)
    _check_names("curves", study.curves, arms)
    _check_names("columns", filter(None, [study.columns]), settings)
    _check_names("baseline", filter(None, [study.baseline]), arms)
    if study.chart not in ("", "dots"):
        raise ValueError(f"chart={study.chart!r}; choose dots, or leave it out for curves")
    if not 1 <= study.choose_seeds <= len(seeds):
        raise ValueError(f"choose_seeds={study.choose_seeds}; choose from 1 to {len(seeds)}, seeds")
    return study


def _arm(key: str, entry: Any) -> Arm:
    if not isinstance(entry, dict) or not isinstance(entry.get("config"), str):
        raise ValueError(f"{key}={entry!r}; choose {{config: FILE, options: {{KEY: VALUE}}}}")
    if unknown := set(entry) - {"config", "options", "seeds", "only", "probe"}:
        raise ValueError(f"{key}: unknown key {sorted(unknown)[0]!r}")
    if not Path(entry["config"]).is_file():
        raise FileNotFoundError(
            f"{key}.config={entry['config']!r} does not exist in {Path.cwd()}; paths of a study "
            "are relative to the current folder"
        )
    options = _options(f"{key}.options", entry.get("options"))
    only = entry.get("only") or {}
    if not isinstance(only, dict) or not all(isinstance(some, list) for some in only.values()):
        raise ValueError(f"{key}.only={only!r}; choose {{SETTING: [VALUE, ...]}}")
    only = {str(setting): tuple(map(str, values)) for setting, values in only.items()}
    probe = entry.get("probe", "")
    if probe not in ("", *PROBES):
        raise ValueError(f"{key}.probe={probe!r}; choose from {list(PROBES)}")
    return Arm(entry["config"], options, entry.get("seeds"), only, probe)


def _options(key: str, options: Any) -> Options:
    if not isinstance(options or {}, dict):
        raise ValueError(f"{key}={options!r}; choose a mapping from config keys to values")
    return {str(name): value for name, value in (options or {}).items()}


def _check_names(key: str, names: Any, allowed: Mapping[str, Any]) -> None:
    for name in names:
        if name not in allowed:
            raise ValueError(f"{key}: {name!r} is not one of {list(allowed)}")
