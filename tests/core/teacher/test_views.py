"""The key of kept maps: what it tells apart, and what it does not."""

import numpy as np
import pytest
import torch
from torch import nn

from aal_plugin.core import FrozenTeacher
from aal_plugin.core.teacher.kept_teacher import teacher_key
from aal_plugin.core.teacher.views import images_sum, view_number, words_of


def teacher(seed=0, **options):
    torch.manual_seed(seed)
    model = nn.Sequential(nn.Conv2d(3, 4, 2), nn.Conv2d(4, 4, 2))
    given = dict(layers=["0"], mean=(120,) * 3, std=(60,) * 3, input_size=(8, 8))
    return FrozenTeacher(model, **dict(given, **options))


@pytest.mark.parametrize(
    ("options", "differs"),
    [
        (dict(seed=1), "teacher weights"),
        (dict(layers=["1"]), "layers"),
        (dict(dtype="bfloat16"), "teacher weights"),
        (dict(mean=(110,) * 3), "normalisation"),
        (dict(image_size=16), "normalisation"),
        (dict(channels_last=False), None),
    ],
)
def test_a_teacher_that_gives_other_maps_has_another_key(options, differs):
    one, other = teacher_key(teacher()), teacher_key(teacher(**options))
    assert [name for name in one if one[name] != other[name]] == ([differs] if differs else [])


def test_what_is_said_of_the_images_belongs_to_the_key():
    own, said = teacher(), teacher()
    said.match_input((0, 0, 0), (255, 255, 255), rgb=True)
    assert teacher_key(own) != teacher_key(said)


class Crop:
    def __init__(self, size):
        self.size = size


def test_the_words_of_a_transform_are_the_same_in_every_process():
    assert words_of([Crop(3), (Crop((4, 5)),)]) == "[Crop(size=3), [Crop(size=[4, 5])]]"
    assert words_of(lambda x: x).endswith(">") and "0x" not in words_of(lambda x: x)


def test_images_are_told_apart_by_values_or_by_names_and_sizes(tmp_path):
    (tmp_path / "cat").mkdir()
    (tmp_path / "cat" / "1.png").write_bytes(b"123")
    files = [str(tmp_path / "cat" / "1.png")]
    before = images_sum(files)
    (tmp_path / "moved").mkdir()
    (tmp_path / "cat").rename(tmp_path / "moved" / "cat")
    moved = [str(tmp_path / "moved" / "cat" / "1.png")]
    assert images_sum(moved) == before
    (tmp_path / "moved" / "cat" / "1.png").write_bytes(b"1234")
    assert images_sum(moved) != before
    values = [np.zeros((2, 2), np.uint8), np.ones((2, 2), np.uint8)]
    assert images_sum(values) != images_sum(values[::-1])


def test_k_times_that_an_image_is_shown_show_each_of_its_views_once():
    for index in range(20):
        numbers = [view_number(index, shown, views=5, seed=3) for shown in range(5)]
        assert sorted(numbers) == list(range(5 * index, 5 * index + 5))
    starts = {view_number(index, 0, views=5, seed=3) % 5 for index in range(20)}
    assert len(starts) > 2
