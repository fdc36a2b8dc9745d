import numpy as np
import pytest
from mmpretrain.registry import DATASETS

from aal_plugin.data import CLASSES, draw_shapes, split_seed


@pytest.fixture(autouse=True, scope="module")
def cache(tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("AAL_CACHE", str(tmp_path_factory.mktemp("cache")))
        yield


def build(**kwargs):
    settings = dict(type="ShapesDataset", split="train", num_images=30, size=32, seed=2)
    return DATASETS.build({**settings, **kwargs})


def test_sample_holds_image_label_and_box():
    drawn = draw_shapes(30, 32, split_seed("train", 2))
    dataset = build()
    assert len(dataset) == 30
    for i in (0, 17, 29):
        sample = dataset[i]
        assert np.array_equal(sample["img"][..., ::-1], drawn.images[i])  # BGR, as mmcv loads
        assert sample["img"].flags.c_contiguous and sample["img"].dtype == np.uint8
        assert sample["img_shape"] == sample["ori_shape"] == (32, 32)
        assert sample["gt_label"] == drawn.labels[i]
        assert sample["gt_bboxes"].dtype == np.float32
        assert np.array_equal(sample["gt_bboxes"], drawn.boxes[i : i + 1])
        assert sample["sample_idx"] == i


def test_flip_and_resize_move_the_box_with_the_image():
    plain = build()
    turned = build(
        pipeline=[dict(type="RandomFlip", prob=1.0), dict(type="Resize", scale=(64, 64))]
    )
    for i in range(10):
        x1, y1, x2, y2 = plain[i]["gt_bboxes"][0]
        assert turned[i]["gt_bboxes"][0].tolist() == [64 - 2 * x2, 2 * y1, 64 - 2 * x1, 2 * y2]


@pytest.mark.parametrize(
    "kwargs, words",
    [
        (dict(split="dev"), "ShapesDataset.split='dev'; choose 'train', 'val' or 'test'"),
        (dict(num_images=0), "ShapesDataset.num_images=0; choose a whole number, 1 or more"),
        (dict(num_images=1.5), "ShapesDataset.num_images=1.5; choose a whole number"),
        (dict(size=-48), "ShapesDataset.size=-48; choose a whole number, 16 or more"),
        (dict(seed=-1), "ShapesDataset.seed=-1; choose a whole number, 0 or more"),
    ],
)
def test_bad_arguments_are_named(kwargs, words):
    with pytest.raises(ValueError, match=words):
        build(**kwargs)


def test_some_shapes_are_those_of_the_whole_set_in_its_order():
    chosen = build(num_images=6, shapes=["ring", "star"])
    assert chosen.CLASSES == ("ring", "star") and len(chosen) == 6
    whole = [sample for sample in build() if CLASSES[sample["gt_label"]] in ("ring", "star")]
    for ours, other in zip(chosen, whole, strict=True):
        assert np.array_equal(ours["img"], other["img"])
        assert np.array_equal(ours["gt_bboxes"], other["gt_bboxes"])
        assert chosen.CLASSES[ours["gt_label"]] == CLASSES[other["gt_label"]]


def test_background_labels_name_the_colour_of_the_outer_pixels():
    dataset = build(label="background", num_images=100)
    places = {"black": "", "blue": "b", "green": "g", "cyan": "gb", "red": "r", "magenta": "rb"}
    places.update(yellow="rg", white="rgb")
    for sample in dataset:
        image = sample["img"].astype(float)
        sides = [image[:2], image[-2:], image[2:-2, :2], image[2:-2, -2:]]
        blue, green, red = np.concatenate([side.reshape(-1, 3) for side in sides]).mean(0) > 127.5
        bright = places[dataset.CLASSES[sample["gt_label"]]]
        assert [red, green, blue] == [letter in bright for letter in "rgb"]
    assert "background: black, blue, green" in repr(dataset)
    # They tell nothing about the shape, and none is rare.
    assert np.bincount(dataset.get_gt_labels(), minlength=8).min() >= 4


@pytest.mark.parametrize(
    "setting, words",
    [
        (dict(shapes=[]), "shapes=[]"),
        (dict(shapes=["ring", "ring"]), "each once"),
        (dict(shapes=["cube"]), "'circle'"),
        (dict(label="texture"), "'shape' or 'background'"),
    ],
)
def test_unknown_shapes_and_labels_are_told(setting, words):
    with pytest.raises(ValueError) as error:
        build(**setting)
    assert words in str(error.value)
