import itertools

import numpy as np
import pytest
from mmengine.registry import init_default_scope
from mmpretrain.registry import DATASETS
from PIL import Image

from aal_plugin.mm.runs.random_states import named_item


def image_folder(root, per_class=(10, 20, 3)):
    for label, count in enumerate(per_class):
        for index in range(count):
            path = root / f"class{label}" / f"{index:04}.jpg"
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.new("RGB", (8, 8), (index, label, 0)).save(path)
    return root


@pytest.fixture(scope="module")
def images(tmp_path_factory):
    return image_folder(tmp_path_factory.mktemp("images"))


def subset(root, fraction, seed=0, pipeline=()):
    init_default_scope("mmpretrain")
    folder = dict(type="CustomDataset", data_root=str(root), pipeline=list(pipeline))
    return DATASETS.build(
        dict(type="ClassBalancedSubset", fraction=fraction, seed=seed, dataset=folder)
    )


def names(dataset):
    paths = [dataset.get_data_info(i)["img_path"] for i in range(len(dataset))]
    return {"/".join(path.split("/")[-2:]) for path in paths}


def test_every_class_keeps_its_share_and_at_least_one_image(images):
    dataset = subset(images, 0.1)
    assert np.bincount(dataset.get_gt_labels()).tolist() == [1, 2, 1]
    assert len(dataset) == 4 and dataset.metainfo["classes"][1] == "class1"
    assert [dataset.get_cat_ids(i) for i in range(4)] == [[0], [1], [1], [2]]


def test_the_choice_is_pinned_and_depends_on_the_seed_alone(images, tmp_path):
    chosen = names(subset(images, 0.1))
    assert chosen == {
        "class0/0004.jpg",
        "class1/0003.jpg",
        "class1/0012.jpg",
        "class2/0002.jpg",
    }
    assert chosen == names(subset(image_folder(tmp_path / "elsewhere" / "b"), 0.1))
    assert chosen != names(subset(images, 0.1, seed=1))


def test_smaller_fractions_are_subsets_of_larger_ones(images):
    chosen = [names(subset(images, f)) for f in (0.05, 0.1, 0.3, 0.5, 1.0)]
    assert all(small <= large for small, large in itertools.pairwise(chosen))
    assert len(chosen[-1]) == 33


def test_data_without_files_is_chosen_by_place():
    init_default_scope("mmpretrain")
    shapes = dict(type="ShapesDataset", split="train", num_images=40, size=24)
    config = dict(type="ClassBalancedSubset", fraction=0.5, dataset=shapes)
    one, other = DATASETS.build(config), DATASETS.build(config)
    assert one.indices == other.indices and len(one) == 20
    assert np.bincount(one.get_gt_labels()).tolist() == [2] * 10


def test_corrupt_image_is_named(tmp_path):
    root = image_folder(tmp_path)
    path = root / "class0" / "0003.jpg"
    path.write_bytes(path.read_bytes()[:200])
    dataset = subset(root, 1.0, pipeline=[dict(type="LoadImageFromFile")])
    index = next(
        i for i in range(len(dataset)) if dataset.get_data_info(i)["img_path"] == str(path)
    )
    with pytest.raises(ValueError, match=f"^image {path} failed to load: (?!.*jpg failed)"):
        dataset[index]
    with pytest.raises(ValueError, match=f"^image {path} failed to load: (?!.*jpg failed)"):
        named_item(dataset, index)  # as a loader does in a run


@pytest.mark.parametrize("fraction", [0, -0.1, 1.5])
def test_fraction_out_of_range_is_named(fraction):
    with pytest.raises(ValueError, match=f"ClassBalancedSubset.fraction={fraction}; choose from"):
        DATASETS.build(dict(type="ClassBalancedSubset", fraction=fraction, dataset=dict()))


def test_the_images_are_listed_once(images, monkeypatch):
    dataset = subset(images, 0.5)
    monkeypatch.setattr(dataset.dataset, "full_init", lambda: pytest.fail("listed again"))
    assert len(dataset) and dataset.get_data_info(0) and dataset[0]


@pytest.mark.parametrize(
    ("fraction", "outside"), [(0.5, "../other/class0/0000.jpg"), (1.0, "{}/images_of_others/a.jpg")]
)
def test_an_annotation_file_does_not_reach_out_of_its_folder(tmp_path, fraction, outside):
    root = image_folder(tmp_path / "images")
    inside = sorted(str(path.relative_to(root)) for path in root.rglob("*.jpg"))
    listed = dict(
        type="CustomDataset", data_root=str(root), data_prefix="", ann_file="list.txt", pipeline=[]
    )
    config = dict(type="ClassBalancedSubset", fraction=fraction, dataset=listed)

    def build(*paths, **changes):
        init_default_scope("mmpretrain")
        (root / "list.txt").write_text("".join(f"{path} 0\n" for path in paths))
        return DATASETS.build(dict(config, **changes))

    assert len(build(*inside, "class0/../class1/0001.jpg")) in (17, 34)
    with pytest.raises(ValueError, match="is outside data_root .* allow_outside=True"):
        build(*inside, outside.format(tmp_path))
    assert len(build(*inside, outside.format(tmp_path), allow_outside=True)) in (17, 34)
