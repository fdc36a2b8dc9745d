import mmcv
import numpy as np
import pytest
from mmpretrain.registry import DATASETS, TRANSFORMS

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
        [dict(type="Resize", scale=(10000, 80), keep_ratio=True)],
        [dict(type="Resize", scale=(30, 30), keep_ratio=True, backend="pillow")],
        [dict(type="Resize", scale=(80, 80))],
        [
            dict(type="Resize", scale=(10000, 80), keep_ratio=True),
            dict(type="CenterCrop", crop_size=64),
        ],
        [dict(type="CenterCrop", crop_size=32), dict(type="RandomFlip", prob=1.0)],
    ],
)
def test_box_follows_the_image(folder, steps):
    for sample in build(folder, *steps):
        np.testing.assert_allclose(sample["gt_bboxes"][0], bright_box(sample["img"]), atol=1)


def test_pipeline_hands_the_box_to_the_metric(folder):
    steps = [
        dict(type="Resize", scale=(10000, 80), keep_ratio=True),
        dict(type="CenterCrop", crop_size=64),
        dict(type="PackInputs", algorithm_keys=["gt_bboxes"]),
    ]
    packed = build(folder, *steps)[0]
    assert packed["inputs"].shape == (3, 64, 64)
    # ×2, then 28 pixels off the left and 8 off the top.
    np.testing.assert_allclose(packed["data_samples"].gt_bboxes, [[12, 12, 52, 52]], atol=0.5)


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


PICTURE = np.arange(6 * 8 * 3, dtype=np.uint8).reshape(6, 8, 3)


def cut(box):
    results = dict(img=PICTURE.copy(), gt_bboxes=np.array([box], np.float32), img_path="a.png")
    return TRANSFORMS.build(dict(type="CropToBox"))(results)


@pytest.mark.parametrize(
    ("box", "rows", "columns"),
    [
        ((2, 1, 5, 4), (1, 2, 3), (2, 3, 4)),
        ((2.4, 1.6, 4.2, 3.1), (1, 2, 3), (2, 3, 4)),  # whole pixels that hold all of it
        ((-3, 4, 99, 99), (4, 5), range(8)),  # past the image
        ((7.5, 5.5, 8, 6), (5,), (7,)),
    ],
)
def test_image_is_cut_to_the_pixels_of_its_box(box, rows, columns):
    results = cut(box)
    wanted = [[PICTURE[y, x].tolist() for x in columns] for y in rows]
    assert results["img"].tolist() == wanted
    assert results["img_shape"] == (len(rows), len(columns)) and "gt_bboxes" not in results


@pytest.mark.parametrize("box", [(3, 3, 3, 5), (9, 1, 12, 4), (1, 1, 0, 4)])
def test_box_without_a_pixel_is_named_with_its_image(box):
    with pytest.raises(
        ValueError, match=r"CropToBox: the box .* contains no pixel of a.png, .* 8 x 6"
    ):
        cut(box)


def test_sample_without_a_box_is_told_which_data_set_has_some():
    with pytest.raises(ValueError, match="a.png has no gt_bboxes; use .* 'CUBWithBoxes'"):
        TRANSFORMS.build(dict(type="CropToBox"))(dict(img=PICTURE, img_path="a.png"))


def test_birds_fill_their_pictures(folder):
    """Its boxes are white on black: cut to them, rescaled and cropped, nothing is black."""
    steps = [
        dict(type="CropToBox"),
        dict(type="ResizeEdge", scale=40, edge="short"),
        dict(type="RandomCrop", crop_size=32),
    ]
    for split in ("train", "test"):
        for sample in build(folder, *steps, split=split):
            assert sample["img"].shape == (32, 32, 3) and sample["img"].min() == 255
