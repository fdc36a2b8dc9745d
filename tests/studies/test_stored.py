"""The studies of this repository: their files are right, and the pages are what their runs say."""

import ast
import copy
from functools import cache
from pathlib import Path

import pytest

from aal_plugin.mm.configs.reading import read_config
from tools.machine import versions
from tools.studies import running
from tools.studies.choosing import runs_of
from tools.studies.pages import fill_in
from tools.studies.records import Records, hash_of
from tools.studies.study import read_study

ROOT = Path(__file__).resolve().parents[2]
STUDIES = sorted((ROOT / "docs" / "results" / "studies").glob("*.yml"))
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]


@pytest.fixture(autouse=True)
def from_the_top(monkeypatch):
    monkeypatch.chdir(ROOT)


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


@cache
def config_at(path):
    return read_config(path)


@pytest.mark.parametrize("path", STUDIES, ids=lambda path: path.stem)
def test_every_point_is_a_config_and_its_stored_runs_had_it(path, monkeypatch):
    # Many points share a config, whose bases take a second to read.
    monkeypatch.setattr(running, "read_config", lambda path: copy.deepcopy(config_at(path)))
    study, records = read_study(path), Records(path.with_suffix(".json"))
    theirs = "mmpretrain" in versions(["mmpretrain"])  # the runs inherit from MMPretrain's own
    stored = {key: python_of(text) for key, text in records.configs.items()}
    for point in study.points():
        cfg = running.config_of(study, point)
        assert cfg.train_cfg.max_epochs == cfg.param_scheduler.total_steps
        assert cfg.test_dataloader.dataset.split == "test"
        now = ast.literal_eval(repr(cfg.to_dict()).replace(f"{ROOT}/", ""))
        for run in runs_of(point, records) if theirs else ():
            assert stored[run.config] == now, point


def python_of(text):
    names = {}
    exec(text, {}, names)  # as Config.fromstring does, in a thousandth of the time
    return names


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_pages_are_what_the_stored_runs_say(page, tmp_path):
    pytest.importorskip("scipy")
    studies = Path("docs/results/studies")
    assert (
        fill_in(page.relative_to(ROOT), studies, Path("docs/images"), draw=False)
        == page.read_text()
    )
