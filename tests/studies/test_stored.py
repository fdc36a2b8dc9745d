"""The studies of this repository: their files are right, and the pages are what their runs say."""

from pathlib import Path

import pytest
from mmengine.config import Config

from aal_plugin.mm.configs.reading import read_config
from tools.machine import versions
from tools.studies.choosing import runs_of
from tools.studies.pages import fill_in
from tools.studies.records import Records, hash_of
from tools.studies.running import config_of, portable_text
from tools.studies.study import read_study

ROOT = Path(__file__).resolve().parents[2]
STUDIES = sorted((ROOT / "docs" / "results" / "studies").glob("*.yml"))
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]


@pytest.fixture(autouse=True)
def from_the_top(monkeypatch):
    monkeypatch.chdir(ROOT)


@pytest.mark.parametrize("path", STUDIES, ids=lambda path: path.stem)
def test_every_point_of_a_study_is_a_config(path):
    study = read_study(path)
    for point in study.points():
        cfg = read_config(study.arms[point.arm].config)
        cfg.merge_from_dict(study.options(point))
        assert cfg.train_cfg.max_epochs == cfg.param_scheduler.total_steps
        assert cfg.test_dataloader.dataset.split == "test"


@pytest.mark.parametrize("path", STUDIES, ids=lambda path: path.stem)
def test_stored_runs_belong_to_the_study_and_hold_their_config(path):
    study, records = read_study(path), Records(path.with_suffix(".json"))
    stored = [run for point in study.points() for run in runs_of(point, records)]
    assert sorted(map(id, stored)) == sorted(map(id, records.runs))
    for run in records:
        text = records.configs[run.config]
        assert hash_of(text) == run.config and str(ROOT) not in text
        assert run.commit and "dirty" not in run.commit and run.versions["torch"]
        assert {key for key in study.metrics if "/" in key} <= set(run.test)


@pytest.mark.skipif(
    "mmpretrain" not in versions(["mmpretrain"]), reason="the runs inherit from MMPretrain's own"
)
@pytest.mark.parametrize("path", STUDIES, ids=lambda path: path.stem)
def test_stored_runs_had_the_config_that_is_there_now(path):
    study, records = read_study(path), Records(path.with_suffix(".json"))
    for point in study.points():
        runs = runs_of(point, records)
        if not runs:
            continue
        now = Config.fromstring(portable_text(config_of(study, point)), ".py").to_dict()
        for key in {run.config for run in runs}:
            assert Config.fromstring(records.configs[key], ".py").to_dict() == now, point


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_pages_are_what_the_stored_runs_say(page, tmp_path):
    pytest.importorskip("scipy")
    studies = Path("docs/results/studies")
    assert (
        fill_in(page.relative_to(ROOT), studies, Path("docs/images"), draw=False)
        == page.read_text()
    )
