"""Each folder of configs has a README and a metafile.yml that name all of its configs."""

from __future__ import annotations

import re
import statistics
from pathlib import Path

import modelindex
import pytest
import yaml

from tools.studies.choosing import runs_of
from tools.studies.records import TOP1, Records
from tools.studies.study import read_study
from tools.studies.tables import shown_points

from .pages import ROOT

FOLDERS = sorted(
    {path.parent for path in (ROOT / "configs").rglob("*.py")} - {ROOT / "configs/_base_"}
)
each_folder = pytest.mark.parametrize(
    "folder", FOLDERS, ids=lambda folder: folder.relative_to(ROOT).as_posix()
)


def models(folder: Path) -> dict[str, dict]:
    metafile = yaml.safe_load((folder / "metafile.yml").read_text(encoding="utf-8"))
    return {model["Name"]: model for model in metafile["Models"]}


def row_of(folder: Path, name: str) -> str:
    """The row of the README's tables that links to a config."""
    lines = (folder / "README.md").read_text(encoding="utf-8").splitlines()
    rows = [line for line in lines if line.startswith(f"| [{name}]({name}.py) |")]
    assert len(rows) == 1, f"{folder.name}/README.md has {len(rows)} rows of {name}"
    return rows[0]


@each_folder
def test_every_config_has_a_row_and_an_entry(folder):
    names = {path.stem for path in folder.glob("*.py")}
    assert set(models(folder)) == names
    for name in names:
        row_of(folder, name)


@each_folder
def test_results_of_the_metafile_are_those_of_the_row(folder):
    for name, model in models(folder).items():
        figures = re.findall(r"\d+\.\d+", row_of(folder, name).rsplit("|", 2)[1])
        metrics = [result["Metrics"].values() for result in model.get("Results", [])]
        assert [float(figure) for figure in figures] == [v for values in metrics for v in values], (
            name
        )


def test_results_of_a_study_are_those_of_its_runs(monkeypatch):
    monkeypatch.chdir(ROOT)
    checked = 0
    for name, model in models(ROOT / "configs/shapes").items():
        for result in model.get("Results", []):
            file = re.search(r"docs/results/studies/(\w+)\.json", result["Source"])
            if file is None:
                continue
            study = read_study(ROOT / file[0].replace(".json", ".yml"))
            records = Records(ROOT / file[0])
            (arm,) = (
                arm
                for arm, entry in study.arms.items()
                if entry.config == model["Config"] and not entry.options
            )
            (runs,) = (
                runs_of(point, records)
                for point in shown_points(study, records)
                if point.arm == arm
            )
            top1 = [run.test[TOP1] for run in runs]
            assert result["Metrics"]["Top 1 Accuracy"] == round(statistics.mean(top1), 1), name
            assert f"{len(runs)} seeds" in result["Source"], name
            checked += 1
    assert checked > 12


@each_folder
def test_results_say_whose_they_are(folder):
    ours = folder.name == "shapes"
    for name, model in models(folder).items():
        for result in model.get("Results", []):
            assert result["Source"].startswith(
                "run here"
                if ours
                else ("AAL paper", "DeiT paper", "AT paper", "Locality Guidance paper")
            ), name


@each_folder
def test_metafile_loads_as_mmpretrains_do(folder):
    index = modelindex.load(str(folder / "metafile.yml"))
    collections = {collection.name for collection in index.collections}
    assert len(index.models) == len(list(folder.glob("*.py")))
    for model in index.models:
        assert model.in_collection in collections
        assert (ROOT / model.config).parent == folder
        assert Path(model.config).stem == model.name
    for collection in index.collections:
        assert (ROOT / collection.readme) == folder / "README.md"


DATA = {
    "in1k": "ImageNet-1k",
    "cifar100": "CIFAR-100",
    "cifar10": "CIFAR-10",
    "cub": "CUB-200-2011",
    "flowers": "Oxford Flowers-102",
    "scenes": "MIT Indoor Scenes",
    "fashion": "Fashion-MNIST, 500 images",
    "elpv": "ELPV, 1,399 images",
    "shapes": "Embedded shapes set, 2,000 images",
    "quickstart": "Embedded shapes set",
    "folder": "Your own image folder",
}


@each_folder
def test_training_data_is_that_of_the_configs_name(folder):
    for name, model in models(folder).items():
        said = model["Metadata"]["Training Data"]
        share = re.search(r"-(\d+)pct", name)
        assert any(said.startswith(words) for part, words in DATA.items() if part in name), name
        assert said.endswith(f" {share[1]}% of each class") if share else "%" not in said, name
