import numpy as np
import pytest
from mmpretrain.registry import TRANSFORMS

from .test_cub_with_boxes import build, folder  # noqa: F401

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


def test_birds_fill_their_pictures(folder):  # noqa: F811
    """Its boxes are white on black: cut to them, rescaled and cropped, nothing is black."""
    steps = [
        dict(type="CropToBox"),
        dict(type="ResizeEdge", scale=40, edge="short"),
        dict(type="RandomCrop", crop_size=32),
    ]
    for split in ("train", "test"):
        for sample in build(folder, *steps, split=split):
            assert sample["img"].shape == (32, 32, 3) and sample["img"].min() == 255
