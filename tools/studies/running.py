"""Runs what is missing of a study, and stores each run as soon as it is finished."""

from __future__ import annotations

import re
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from mmengine.config import Config

from aal_plugin.analysis.runs import read_run
from aal_plugin.mm.configs.reading import read_config
from tools.machine import processor, versions

from .choosing import chosen_points
from .probes import probed
from .records import TOP1, Record, Records, commit, hash_of, rounded_curves
from .study import Arm, Point, Study
from .trainings import Training, run_trainings, threads_of
from .weight_sums import weights_of

CURVES = (TOP1, "loss", "link_distance", "link_weight", "lr")
PACKAGES = ("aal_plugin", "torch", "timm", "mmengine", "mmpretrain", "onedl-mmengine", "numpy")


def run_study(
    study: Study,
    records: Records,
    train: Path,
    jobs: int = 1,
    work_dir: str = "work_dirs",
    other_weights: bool = False,
) -> None:
    """Run every run of a study that `records` does not hold, `jobs` at a time.

    A run with the same config and seed that another study beside it stored is taken from there.
    The arms of `first` run before the others. Where the study chooses, the combinations of the
    chosen settings run with the first seeds, and the best one with all of them.

    Args:
        train: the training script, tools/train.py.
        work_dir: folder of logs and checkpoints; checkpoints are deleted once a run is stored.
        other_weights: keep stored runs whose teacher had other weights than the one here.

    Raises:
        RuntimeError: a run failed; names its log.
        ValueError: a stored run had another teacher, and `other_weights` is off.
    """
    own = records.path.resolve()
    others = [
        Records(path)
        for path in sorted(own.parent.glob("*.json"))
        if path != own and path.with_suffix(".yml").is_file()
    ]

    about: dict[str, Any] = dict(
        commit=commit(),
        versions=versions(PACKAGES),
        processor=f"{processor()}, threads: {threads_of(jobs)}",
    )

    def keep(point: Point, seed: int, text: str, result: dict, curves: Mapping) -> None:
        curves = curves or {TOP1: (np.array([1]), np.array([result["top1"]]))}
        record = Record(
            arm=point.arm,
            values=dict(point.values),
            seed=seed,
            config=hash_of(text),
            weights={_portable(path): sha for path, sha in result["weights"].items()},
            seconds=round(result["seconds"], 1),
            test={key: float(f"{value:.6g}") for key, value in result["test"].items()},
            curves=rounded_curves(curves),
            **about,
        )
        records.add(record, text)

    def run(points: Sequence[Point], first_seeds: int | None = None) -> None:
        """Take stored runs, and train those that are missing."""
        missing: dict[str, tuple[Training, Point, int, str]] = {}
        for point in points:
            text = text_of(study, point)
            key = hash_of(text)
            for seed in study.seeds_of(point)[:first_seeds]:
                cfg = config_of(study, point, seed)
                stored = next(filter(None, (r.find(key, seed) for r in (records, *others))), None)
                if stored is not None:
                    if not other_weights:
                        check_weights(stored, cfg, point)
                    taken = replace(stored, arm=point.arm, values=dict(point.values))
                    if taken not in records.runs:
                        records.add(taken, text)
                    continue
                if probe := study.arms[point.arm].probe:
                    keep(point, seed, text, dict(probed(cfg, probe), weights=weights_of(cfg)), {})
                    continue
                cfg.merge_from_dict({"randomness.seed": seed})
                # With the hash: names that differ in signs alone would share a folder.
                folder = f"{work_dir}/studies/{study.name}/{_folder(point)}_{key}"
                cfg.work_dir = f"{folder}/seed{seed}"
                training = Training(f"{point}, seed {seed}", cfg, test=True)
                missing[cfg.work_dir] = (training, point, seed, text)
                shutil.rmtree(training.work_dir, ignore_errors=True)  # a run that was interrupted

        def store(training: Training, result: dict) -> None:
            _, point, seed, text = missing[training.cfg.work_dir]
            curves = read_run(training.work_dir).curves
            keep(point, seed, text, result, {key: curves[key] for key in CURVES if key in curves})
            for file in training.work_dir.glob("*.pth"):
                file.unlink()

        run_trainings([training for training, *_ in missing.values()], train, jobs, store)

    run_trainings([_first(arm, name) for name, arm in study.first.items()], train, jobs)
    points = list(study.points())
    if study.choose:
        run(points, study.choose_seeds)
        points = chosen_points(study, records)
    run(points)


def check_weights(stored: Record, cfg: Config, point: Point) -> None:
    """Raise ValueError if a stored run read other weights than its config would read now."""
    now = {_portable(path): sha for path, sha in weights_of(cfg).items()}
    if now and dict(stored.weights) != now:
        raise ValueError(
            f"{point}: the stored run used other weights of {sorted(now)}; give --results FILE "
            "for runs of your own, or --keep-results to keep the stored runs as they are"
        )


def config_of(study: Study, point: Point, seed: int = 0) -> Config:
    """The config of a point, without its work dir, and with `randomness.seed` 0."""
    cfg = read_config(study.arms[point.arm].config)
    cfg.merge_from_dict({key: seeded(value, seed) for key, value in study.options(point).items()})
    cfg.merge_from_dict({"randomness.seed": 0})
    cfg.pop("work_dir", None)
    return cfg


def seeded(value: Any, seed: int) -> Any:
    """A value of a study's options with the number of the seed where it says {seed}."""
    if value == "{seed}":
        return seed
    return value.replace("{seed}", str(seed)) if isinstance(value, str) else value


def text_of(study: Study, point: Point) -> str:
    """What a point's runs have in common: the text of its config, and its probe."""
    probe = study.arms[point.arm].probe
    return portable_text(config_of(study, point)) + (f"# {probe}\n" if probe else "")


def portable_text(cfg: Config) -> str:
    """A config's text without the path of this checkout."""
    return _portable(cfg.pretty_text)


def _portable(text: str) -> str:
    here = Path(__file__).resolve().parents[2]  # configs/ and work_dirs/ lie in the current folder
    for folder in (here, Path.cwd()):
        text = text.replace(f"{folder}/", "")
    return text


def _first(arm: Arm, name: str) -> Training:
    cfg = read_config(arm.config)
    cfg.merge_from_dict(arm.options)
    return Training(name, cfg)


def _folder(point: Point) -> str:
    parts = [point.arm, *(f"{name}={value}" for name, value in point.values)]
    return re.sub(r"[^\w=.-]+", "-", "_".join(parts))
