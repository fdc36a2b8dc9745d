"""Each folder of configs has a README and a metafile.yml that name all of its configs."""

from __future__ import annotations

import re
from pathlib import Path

import modelindex
import pytest
import yaml
from mmengine.config import Config

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


@each_folder
def test_results_say_whose_they_are(folder):
    ours = folder.name == "shapes"
    for name, model in models(folder).items():
        for result in model.get("Results", []):
            assert result["Source"].startswith(
                "run here" if ours else ("AAL paper", "DeiT paper", "AT paper")
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


@each_folder
def test_training_data_is_that_of_the_config(folder):
    words = {"CIFAR10": "CIFAR-10", "CUB": "CUB-200-2011", "Flowers102": "Oxford Flowers-102"}
    words |= {"CUBWithBoxes": "CUB-200-2011", "ImageNet": "ImageNet-1k"}
    for name, model in models(folder).items():
        data = Config.fromfile(ROOT / model["Config"]).train_dataloader.dataset
        share = data.get("fraction", 1.0)
        said = model["Metadata"]["Training Data"]
        if data.type == "ShapesDataset":
            assert f"{data.num_images:,} images" in said, name
        elif data.type != "CustomDataset":
            kind = data.dataset.type if data.type == "ClassBalancedSubset" else data.type
            assert said.startswith(words[kind]), name
            assert (f"{share:.0%} of each class" in said) == (share < 1), name
