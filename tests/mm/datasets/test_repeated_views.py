"""A view of an image is always the same, and K epochs show each view once."""

import random

import numpy as np
import pytest
import torch
from mmengine.dataset import InfiniteSampler
from mmengine.registry import init_default_scope
from mmpretrain.datasets.samplers import RepeatAugSampler
from mmpretrain.registry import DATASETS
from torch.utils.data import DataLoader

import aal_plugin.mm  # noqa: F401
from aal_plugin.core.teacher.views import view_number
from aal_plugin.mm import RepeatedViews
from aal_plugin.mm.datasets import repeated_views
from aal_plugin.mm.runs.random_states import seed_every_image

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


def placed(data, repeats=1, batches=9, workers=0, batch=4):
    """The numbers of the views that a loader of MMEngine's endless sampler shows."""
    sampler = InfiniteSampler(data, seed=1)
    if repeats > 1:
        sampler = RepeatAugSampler(data, num_repeats=repeats, seed=1)
    loader = DataLoader(
        data, batch_size=batch, sampler=sampler, num_workers=workers, collate_fn=list
    )
    assert seed_every_image(loader, lambda: (0, 0, 0))
    found = [
        [s["data_samples"].view.number for s in batch] for _, batch in zip(range(batches), loader)
    ]
    return [number for batch in found for number in batch]


@pytest.mark.parametrize("workers", [0, 2])
def test_an_endless_loader_shows_each_view_once_in_k_times_through_the_images(workers):
    numbers = placed(dataset(), workers=workers)
    assert sorted(numbers) == list(range(36))
    for start in (0, 12, 24):
        assert sorted(number // 3 for number in numbers[start : start + 12]) == list(range(12))


def test_an_image_that_is_repeated_in_one_pass_shows_other_views():
    numbers = placed(dataset(), repeats=3, batches=2, batch=6)
    assert len(set(numbers)) == 12 and len({number // 3 for number in numbers}) == 4


def test_ranks_count_the_images_of_all_ranks(monkeypatch):
    monkeypatch.setattr(repeated_views, "get_world_size", lambda: 2)
    data = dataset()
    shown = [data.placed_item(5, (0, rank, 0, 6))["data_samples"].view.number for rank in (0, 1)]
    assert shown == [view_number(5, 1, 3)] * 2  # six places of two ranks: each image once


def test_the_pipeline_of_a_subset_belongs_to_the_key():
    def words(**changes):
        inner = dict(IMAGES, pipeline=[dict(type="RandomFlip", **changes), *IMAGES["pipeline"]])
        data = dataset(dataset=dict(type="ClassBalancedSubset", dataset=inner, fraction=0.5))
        return data[0]["data_samples"].view.images["pipeline"]

    assert words(prob=0.5) == words(prob=0.5) != words(prob=0.4)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        (dict(views=0), r"RepeatedViews.views=0; choose"),
        (dict(views=True), r"RepeatedViews.views=True; choose"),
        (dict(kept_bits=7), r"RepeatedViews.kept_bits=7; choose 4, 8 or 16"),
        (dict(kept_size=1), r"RepeatedViews.kept_size=1; choose"),
        (dict(seed=-1), r"RepeatedViews.seed=-1; choose"),
    ],
)
def test_settings_are_checked(changes, words):
    with pytest.raises(ValueError, match=words):
        RepeatedViews(IMAGES, **dict(dict(views=3), **changes))
