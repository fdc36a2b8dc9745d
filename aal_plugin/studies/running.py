"""Runs what is missing of a study, and stores each run as soon as it is finished."""

from __future__ import annotations

import re
import shutil
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from mmengine.config import Config

from aal_plugin.analysis.runs import read_run
from aal_plugin.mm.checkpoints.weight_sums import weights_of
from aal_plugin.mm.configs.reading import read_config
from aal_plugin.mm.runtime.trials import Trial, run_trials, threads_of

from .choosing import chosen_points
from .records import TOP1, Record, Records, commit, hash_of, processor, rounded_curves, versions
from .study import Arm, Point, Study

CURVES = (TOP1, "loss", "link_distance", "link_weight", "lr")


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
    run_trials([_first_trial(arm, name) for name, arm in study.first.items()], train, jobs)
    runs = _Runs(study, records, train, jobs, f"{work_dir}/studies/{study.name}", other_weights)
    if study.choose:
        some = study.seeds[: study.choose_seeds]
        runs.run([(point, seed) for point in study.points() for seed in some])
    points = chosen_points(study, records) if study.choose else list(study.points())
    runs.run([(point, seed) for point in points for seed in study.seeds_of(point)])


class _Runs:
    """Runs points and seeds of one study."""

    def __init__(
        self,
        study: Study,
        records: Records,
        train: Path,
        jobs: int,
        work_dir: str,
        other_weights: bool,
    ) -> None:
        self.study, self.records, self.train, self.jobs = study, records, train, jobs
        self.work_dir, self.other_weights = work_dir, other_weights
        own = records.path.resolve()
        beside = (path for path in sorted(own.parent.glob("*.json")) if path != own)
        self.others = [Records(path) for path in beside if path.with_suffix(".yml").is_file()]
        self.commit, self.versions = commit(), versions()
        self.processor = f"{processor()}, threads: {threads_of(jobs)}"

    def run(self, wanted: Sequence[tuple[Point, int]]) -> None:
        missing: dict[str, tuple[Trial, Point, int, str, str]] = {}
        for point, seed in wanted:
            cfg = config_of(self.study, point)
            text = portable_text(cfg)
            key = hash_of(text)
            stored = self._stored(key, seed)
            if stored is not None:
                self._check_weights(stored, cfg, point)
                own = replace(stored, arm=point.arm, values=dict(point.values))
                if own not in self.records.runs:
                    self.records.add(own, text)
                continue
            cfg.merge_from_dict({"randomness.seed": seed})
            # With the hash: names that differ in signs alone would share a folder.
            cfg.work_dir = f"{self.work_dir}/{_folder(point)}_{key}/seed{seed}"
            trial = Trial(f"{point}, seed {seed}", cfg, test=True)
            missing[cfg.work_dir] = (trial, point, seed, key, text)
        for trial, *_ in missing.values():
            shutil.rmtree(trial.work_dir, ignore_errors=True)  # a run that was interrupted

        def store(trial: Trial, result: dict) -> None:
            _, point, seed, key, text = missing[str(trial.cfg.work_dir)]
            curves = read_run(trial.work_dir).curves
            record = Record(
                arm=point.arm,
                values=dict(point.values),
                seed=seed,
                config=key,
                weights={_portable(path): sha for path, sha in result["weights"].items()},
                commit=self.commit,
                versions=self.versions,
                processor=self.processor,
                seconds=round(result["seconds"], 1),
                test={key: float(f"{value:.6g}") for key, value in result["test"].items()},
                curves=rounded_curves({key: curves[key] for key in CURVES if key in curves}),
            )
            self.records.add(record, text)
            for file in trial.work_dir.glob("*.pth"):
                file.unlink()

        run_trials([trial for trial, *_ in missing.values()], self.train, self.jobs, store)

    def _stored(self, config: str, seed: int) -> Record | None:
        """The same run of this study, or of another one beside it."""
        return next(
            filter(None, (records.find(config, seed) for records in (self.records, *self.others))),
            None,
        )

    def _check_weights(self, stored: Record, cfg: Config, point: Point) -> None:
        now = {_portable(path): sha for path, sha in weights_of(cfg).items()}
        if not self.other_weights and now and dict(stored.weights) != now:
            raise ValueError(
                f"{point}: the stored run used other weights of {sorted(now)}; give --results FILE "
                "for runs of your own, or --keep-results to keep the stored runs as they are"
            )


def config_of(study: Study, point: Point) -> Config:
    """The config of a point, without its work dir, and with seed 0."""
    cfg = read_config(study.arms[point.arm].config)
    cfg.merge_from_dict(study.options(point))
    cfg.merge_from_dict({"randomness.seed": 0})
    cfg.pop("work_dir", None)
    return cfg


def portable_text(cfg: Config) -> str:
    """A config's text without the path of this checkout."""
    return _portable(cfg.pretty_text)


def _portable(text: str) -> str:
    here = Path(__file__).resolve().parents[2]  # configs/ and work_dirs/ lie in the current folder
    for folder in (here, Path.cwd()):
        text = text.replace(f"{folder}/", "")
    return text


def _first_trial(arm: Arm, name: str) -> Trial:
    cfg = read_config(arm.config)
    cfg.merge_from_dict(arm.options)
    return Trial(name, cfg)


def _folder(point: Point) -> str:
    parts = [point.arm, *(f"{name}={value}" for name, value in point.values)]
    return re.sub(r"[^\w=.-]+", "-", "_".join(parts))
