import mmcv
import numpy as np
import pytest
from mmpretrain.registry import DATASETS

# Image, training or not, and box as x, y, width, height, in a picture of 40 × 60 pixels.
BIRDS = [
    ("001.Albatross/a.png", 1, (10.0, 5.0, 20.0, 15.0)),
    ("001.Albatross/b.png", 0, (20.0, 10.0, 20.0, 20.0)),
    ("002.Finch/c.png", 0, (0.0, 0.0, 60.0, 40.0)),
]


@pytest.fixture
def folder(tmp_path):
    lines = {"images": [], "image_class_labels": [], "train_test_split": [], "bounding_boxes": []}
    for number, (path, train, (x, y, width, height)) in enumerate(BIRDS, start=1):
        image = np.zeros((40, 60, 3), np.uint8)
        image[int(y) : int(y + height), int(x) : int(x + width)] = 255
        mmcv.imwrite(image, str(tmp_path / "images" / path))
        lines["images"].append(f"{number} {path}")
        lines["image_class_labels"].append(f"{number} {int(path[:3])}")
        lines["train_test_split"].append(f"{number} {train}")
        lines["bounding_boxes"].append(f"{number} {x} {y} {width} {height}")
    for name, text in lines.items():
        (tmp_path / f"{name}.txt").write_text("\n".join(text) + "\n")
    return tmp_path


def build(folder, *steps, split="test"):
    pipeline = [dict(type="LoadImageFromFile"), *steps]
    return DATASETS.build(
        dict(type="CUBWithBoxes", data_root=str(folder), split=split, pipeline=pipeline)
    )


def bright_box(image):
    rows, columns = (np.flatnonzero((image.max(-1) > 127).any(axis=axis)) for axis in (1, 0))
    return [columns[0], rows[0], columns[-1] + 1, rows[-1] + 1]


def test_samples_of_each_split_hold_their_own_box(folder):
    test, train = build(folder), build(folder, split="train")
    assert [s["gt_bboxes"].tolist() for s in test] == [[[20, 10, 40, 30]], [[0, 0, 60, 40]]]
    assert [s["gt_bboxes"].tolist() for s in train] == [[[10, 5, 30, 20]]]
    assert test[0]["gt_bboxes"].dtype == np.float32 and test[1]["gt_label"] == 1


@pytest.mark.parametrize(
    "steps",
    [
        [dict(type="ResizeEdgeWithBoxes", scale=80, edge="short")],
        [dict(type="ResizeEdgeWithBoxes", scale=30, edge="long", backend="pillow")],
        [dict(type="Resize", scale=(80, 80))],
        [dict(type="ResizeEdgeWithBoxes", scale=80), dict(type="CenterCrop", crop_size=64)],
        [dict(type="CenterCrop", crop_size=32), dict(type="RandomFlip", prob=1.0)],
    ],
)
def test_box_follows_the_image(folder, steps):
    for sample in build(folder, *steps):
        np.testing.assert_allclose(sample["gt_bboxes"][0], bright_box(sample["img"]), atol=1)


def test_pipeline_hands_the_box_to_the_metric(folder):
    steps = [
        dict(type="ResizeEdgeWithBoxes", scale=80),
        dict(type="CenterCrop", crop_size=64),
        dict(type="PackInputs", algorithm_keys=["gt_bboxes"]),
    ]
    packed = build(folder, *steps)[0]
    assert packed["inputs"].shape == (3, 64, 64)
    # ×2, then 28 pixels off the left and 8 off the top.
    np.testing.assert_allclose(packed["data_samples"].gt_bboxes, [[12, 12, 52, 52]], atol=0.5)


def test_image_without_a_box_passes_through_the_transform(folder):
    sample = build(folder, dict(type="ResizeEdgeWithBoxes", scale=80))
    info = sample.get_data_info(0)
    del info["gt_bboxes"]
    assert sample.pipeline(info)["img"].shape == (80, 120, 3)


def test_missing_boxes_are_told(folder):
    boxes = folder / "bounding_boxes.txt"
    lines = boxes.read_text().splitlines()
    boxes.write_text("\n".join(lines[:2]))
    with pytest.raises(ValueError, match="bounding_boxes.txt has no box for image .*c.png"):
        build(folder)
    boxes.unlink()
    with pytest.raises(FileNotFoundError, match="CUBWithBoxes.data_root: .*bounding_boxes.txt'"):
        build(folder)


def test_images_txt_does_not_reach_out_of_its_folder(folder):
    listing = folder / "images.txt"
    listing.write_text(listing.read_text().replace("002.Finch/c.png", "../../c.png"))
    with pytest.raises(ValueError, match="c.png', which is outside .* allow_outside=True"):
        len(build(folder))
    steps = [dict(type="LoadImageFromFile")]
    config = dict(type="CUBWithBoxes", data_root=str(folder), split="test", pipeline=steps)
    assert len(DATASETS.build(dict(config, allow_outside=True))) == 2
