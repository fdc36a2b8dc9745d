"""scikit-learn's digits: pixels, labels and splits, beside the library's own arrays."""

import numpy as np
import pytest
from mmpretrain.registry import DATASETS

datasets = pytest.importorskip("sklearn.datasets")


def build(split, **settings):
    return DATASETS.build(dict(type="DigitsDataset", split=split, **settings))


def test_the_splits_are_all_images_once_in_equal_shares_of_each_class():
    digits = datasets.load_digits()
    drawn = {
        split: [sample["img"][..., 0] for sample in map(build(split, size=8).__getitem__, range(n))]
        for split, n in (("train", 1078), ("val", 360), ("test", 359))
    }
    assert {split: len(build(split)) for split in drawn} == dict(train=1078, val=360, test=359)
    ours = sorted(image.tobytes() for images in drawn.values() for image in images)
    theirs = sorted(
        np.round(image * 255 / 16).astype(np.uint8).tobytes() for image in digits.images
    )
    assert ours == theirs
    for split, share in (("train", 0.6), ("val", 0.2), ("test", 0.2)):
        counts = np.bincount(build(split).get_gt_labels())
        assert np.abs(counts - share * np.bincount(digits.target)).max() <= 1


def test_a_sample_is_its_digit_enlarged_in_three_equal_channels():
    digits, dataset = datasets.load_digits(), build("train", size=32)
    sample = dataset[5]
    assert sample["img"].shape == (32, 32, 3) and sample["img"].dtype == np.uint8
    assert (sample["img"] == sample["img"][..., :1]).all()
    assert sample["gt_label"] == digits.target[5] == 5
    # The mean of each 4×4 patch is near the pixel that it was enlarged from.
    patches = sample["img"][..., 0].reshape(8, 4, 8, 4).mean(axis=(1, 3))
    assert np.abs(patches - digits.images[5] * 255 / 16).mean() < 15


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        (dict(split="dev"), "DigitsDataset.split='dev'; choose 'train', 'val' or 'test'"),
        (dict(split="val", size=4), "DigitsDataset.size=4; choose a whole number, 8 or more"),
    ],
)
def test_bad_arguments_are_named(settings, words):
    with pytest.raises(ValueError, match=words):
        build(**settings)
