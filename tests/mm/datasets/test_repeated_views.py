"""A view of an image is always the same, and K epochs show each view once."""

import random

import numpy as np
import pytest
import torch
from mmengine.registry import init_default_scope
from mmpretrain.registry import DATASETS
from torch.utils.data import DataLoader

import aal_plugin.mm  # noqa: F401
from aal_plugin.mm import RepeatedViews

IMAGES = dict(
    type="ShapesDataset",
    split="train",
    num_images=12,
    size=24,
    pipeline=[
        dict(type="RandomCrop", crop_size=24, padding=4),
        dict(type="RandomFlip", prob=0.5),
        dict(type="RandAugment", policies="timm_increasing", num_policies=2, magnitude_level=9),
        dict(type="PackInputs"),
    ],
)


def dataset(**changes):
    init_default_scope("mmpretrain")
    given = dict(type="RepeatedViews", dataset=IMAGES, views=3)
    return DATASETS.build(dict(given, **changes))


def shown(data, workers=0, epochs=3):
    """{view's number: pixels} of each epoch, as a loader gives them."""
    passes = []
    for _ in range(epochs):
        loader = DataLoader(data, batch_size=5, num_workers=workers, collate_fn=list)
        samples = [sample for batch in loader for sample in batch]
        passes.append({s["data_samples"].view.number: s["inputs"] for s in samples})
    return passes


def together(passes):
    return {number: pixels for one in passes for number, pixels in one.items()}


@pytest.mark.parametrize("workers", [0, 2])
def test_k_epochs_show_each_view_once_and_the_next_ones_repeat_them(workers):
    data = dataset()
    passes = shown(data, workers, epochs=6)
    assert all(len(one) == 12 for one in passes)
    first, later = together(passes[:3]), together(passes[3:])
    assert sorted(first) == list(range(36)) == sorted(later)
    assert all(torch.equal(first[number], later[number]) for number in first)
    # Images begin with views of their own, so that a batch does not show first views alone.
    assert len({number % 3 for number in passes[0]}) == 3


def test_views_are_the_same_in_another_process_and_differ_from_each_other():
    random.seed(1)
    here, workers = together(shown(dataset())), together(shown(dataset(), workers=2))
    assert all(torch.equal(here[number], workers[number]) for number in here)
    alike = [torch.equal(here[i], here[i + 1]) for i in range(0, 36, 3)]
    assert sum(alike) <= 2
    other = together(shown(dataset(seed=1)))
    assert sum(torch.equal(here[number], other[number]) for number in here) < 12


def test_the_random_numbers_of_a_training_do_not_change():
    data = dataset()
    states = random.getstate(), np.random.get_state()[1].tolist(), torch.get_rng_state()
    data[3]
    assert random.getstate() == states[0] and np.random.get_state()[1].tolist() == states[1]
    assert torch.equal(torch.get_rng_state(), states[2])


def test_an_epoch_that_is_set_shows_its_views():
    data, other = dataset(), dataset()
    passes = shown(data)
    other.set_epoch(2)
    assert sorted(shown(other, workers=2, epochs=1)[0]) == sorted(passes[2])


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        (dict(views=0), r"RepeatedViews.views=0; choose"),
        (dict(views=True), r"RepeatedViews.views=True; choose"),
        (dict(seed=-1), r"RepeatedViews.seed=-1; choose"),
    ],
)
def test_settings_are_checked(changes, words):
    with pytest.raises(ValueError, match=words):
        RepeatedViews(IMAGES, **dict(dict(views=3), **changes))
