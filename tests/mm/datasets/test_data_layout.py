import runpy
import sys
from pathlib import Path

import pytest
from mmengine.config import Config
from mmengine.registry import init_default_scope
from mmpretrain.registry import DATASETS
from PIL import Image

from aal_plugin.mm import ClassBalancedSubset
from aal_plugin.mm.configs.files import check_data

ROOT = Path(__file__).resolve().parents[3]
LOADERS = ("train_dataloader", "val_dataloader")


def config(**dataset):
    return Config(dict(train_dataloader=dict(dataset=dataset)))


@pytest.mark.parametrize(
    ("dataset", "made", "missing"),
    [
        (dict(type="CUB"), ["images.txt", "images/"], "image_class_labels.txt, train_test_split"),
        (dict(type="CUBWithBoxes"), ["images.txt", "images/"], "split.txt, bounding_boxes.txt;"),
        (dict(type="Flowers102"), ["jpg/"], "imagelabels.mat, setid.mat"),
        (dict(type="ImageNet", split="train"), ["val/"], "missing train"),
        (dict(type="ImageNet", data_prefix="train", ann_file="list.txt"), ["train/"], "list.txt"),
        (dict(type="CustomDataset", data_prefix="test"), ["train/"], "missing test"),
    ],
)
@pytest.mark.parametrize("wrapped", [False, True])
def test_what_is_missing_is_named_with_the_place_and_the_source(
    tmp_path, dataset, made, missing, wrapped
):
    for name in made:
        (tmp_path / name).mkdir() if name.endswith("/") else (tmp_path / name).touch()
    dataset = dict(dataset, data_root=str(tmp_path))
    cfg = config(**(dict(type="ClassBalancedSubset", dataset=dataset) if wrapped else dataset))
    with pytest.raises(FileNotFoundError, match=missing) as error:
        check_data(cfg, LOADERS)
    for words in ("train_dataloader.dataset", str(tmp_path), "Source: ", "data_root"):
        assert words in str(error.value)


def test_data_that_are_there_and_sets_that_are_fetched_pass(tmp_path):
    for name in ("images.txt", "image_class_labels.txt", "train_test_split.txt"):
        (tmp_path / name).touch()
    (tmp_path / "images").mkdir()
    check_data(config(type="CUB", data_root=str(tmp_path)), LOADERS)
    check_data(config(type="CIFAR10", data_root=str(tmp_path / "none")), LOADERS)
    check_data(config(type="ImageNet", data_root="s3://bucket/imagenet", split="train"), LOADERS)


def test_each_part_of_a_concatenation_is_looked_at(tmp_path):
    (tmp_path / "here").mkdir()
    parts = [dict(type="CustomDataset", data_root=str(tmp_path / p)) for p in ("here", "gone")]
    cfg = config(type="RepeatDataset", dataset=dict(type="ConcatDataset", datasets=parts))
    with pytest.raises(FileNotFoundError, match=r"dataset\.dataset\.datasets\.1 \(CustomDataset"):
        check_data(cfg, LOADERS)


def image_folder(root):
    for name in ("cat", "dog", "owl"):
        (root / name).mkdir(parents=True)
        for index in range(8):
            Image.new("RGB", (8, 8)).save(root / name / f"{name} {index}.png")
    return root


@pytest.fixture
def make_subset(monkeypatch, capsys):
    """tools/make_subset.py with these arguments → what it said."""

    def run(*args):
        monkeypatch.setattr(sys, "argv", ["make_subset.py", *map(str, args)])
        runpy.run_path(str(ROOT / "tools" / "make_subset.py"), run_name="__main__")
        return capsys.readouterr().out

    return run


def test_annotation_file_lists_the_images_of_the_wrapper(tmp_path, make_subset):
    folder, out = image_folder(tmp_path / "train"), tmp_path / "meta" / "part.txt"
    said = make_subset(folder, out, "--fraction", 0.25, "--seed", 3)
    assert "6 of 24 images, 3 classes" in said
    init_default_scope("mmpretrain")
    wrapper = ClassBalancedSubset(
        dict(type="CustomDataset", data_prefix=str(folder)), fraction=0.25, seed=3
    )
    listed = DATASETS.build(dict(type="CustomDataset", data_prefix=str(folder), ann_file=str(out)))
    infos = [listed.get_data_info(i) for i in range(len(listed))]
    wanted = [wrapper.get_data_info(i) for i in range(len(wrapper))]
    assert [(i["img_path"], i["gt_label"]) for i in infos] == [
        (i["img_path"], i["gt_label"]) for i in wanted
    ]


def test_subset_of_nothing_says_so(tmp_path, make_subset, capsys):
    for folder, fraction in ((tmp_path / "none", 0.1), (image_folder(tmp_path / "train"), 2)):
        with pytest.raises(SystemExit, match="2"):
            make_subset(folder, "x", "--fraction", fraction)
    first, second = capsys.readouterr().err.strip().splitlines()
    assert "no such folder" in first and str(tmp_path / "none") in first
    assert "--fraction: " in second and "choose from (0, 1]" in second
