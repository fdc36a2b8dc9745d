"""Images of one, three and more channels, for teachers of one, three and more."""

import pytest
import torch
from torch import nn

from aal_plugin.core import FrozenTeacher, TimmTeacher
from aal_plugin.core.student.feature_recorder import FeatureRecorder


class Stem(nn.Module):
    def __init__(self, channels):
        super().__init__()
        self.layer1, self.layer2 = nn.Conv2d(channels, 4, 2, 2), nn.Conv2d(4, 5, 2, 2)

    def forward(self, x):
        return self.layer2(self.layer1(x)).mean((2, 3))


def seen_by(teacher, images):
    """What reaches the teacher's model."""
    seen = []
    hook = teacher.model.layer1.register_forward_pre_hook(lambda m, args: seen.append(args[0]))
    teacher(images)
    hook.remove()
    return seen[0]


MEAN, STD = [120.0, 110.0, 100.0], [60.0, 50.0, 40.0]


def test_one_channel_is_repeated_for_a_teacher_of_three():
    grey = torch.randint(0, 256, (2, 1, 16, 16)).float()
    teacher = FrozenTeacher(Stem(3), mean=MEAN, std=STD)
    teacher.match_input([33.0], [78.0], rgb=True)
    seen = seen_by(teacher, (grey - 33) / 78)
    for channel in range(3):
        wanted = (grey[:, 0] - MEAN[channel]) / STD[channel]
        torch.testing.assert_close(seen[:, channel], wanted, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("order", [(3, 2, 1), (4, 4, 2)])
def test_a_teachers_channels_are_chosen_with_their_mean_and_std(order):
    """Four channels as satellites give them: blue, green, red, infrared."""
    bands = torch.randint(0, 256, (2, 4, 16, 16)).float()
    mean, std = [10.0, 20, 30, 40], [50.0, 60, 70, 80]
    images = (bands - torch.tensor(mean).view(4, 1, 1)) / torch.tensor(std).view(4, 1, 1)
    for rgb in (True, False):  # the order is given; nothing is left to turn round
        teacher = FrozenTeacher(Stem(3), mean=MEAN, std=STD, image_channels=order)
        teacher.match_input(mean, std, rgb=rgb)
        seen = seen_by(teacher, images)
        for channel, band in enumerate(order):
            wanted = (bands[:, band - 1] - MEAN[channel]) / STD[channel]
            torch.testing.assert_close(seen[:, channel], wanted, rtol=1e-4, atol=1e-4)


def test_a_teacher_of_four_channels_takes_four_and_turns_none_round():
    bands = torch.randint(0, 256, (2, 4, 16, 16)).float()
    teacher = FrozenTeacher(Stem(4), mean=[*MEAN, 90.0], std=[*STD, 30.0], rgb=True)
    teacher.match_input(None, None, rgb=False)
    wanted = (bands - torch.tensor([*MEAN, 90.0]).view(4, 1, 1)) / torch.tensor([*STD, 30.0]).view(
        4, 1, 1
    )
    torch.testing.assert_close(seen_by(teacher, bands), wanted, rtol=1e-4, atol=1e-4)


def test_a_mismatch_names_channels_and_not_the_size():
    words = "takes images of 3 channels, and the student's have 4; set teacher.image_channels to 3"
    teacher = FrozenTeacher(Stem(3), mean=MEAN, std=STD)
    with pytest.raises(ValueError, match=words):
        teacher(torch.zeros(1, 4, 16, 16))
    with pytest.raises(ValueError, match=words):
        teacher.match_input([1.0] * 4, [1.0] * 4, rgb=True)
    few = FrozenTeacher(Stem(3), image_channels=(1, 2, 4))
    with pytest.raises(ValueError, match=r"image_channels=\[1, 2, 4\], but the student's images"):
        few(torch.zeros(1, 3, 16, 16))
    with pytest.raises(ValueError, match="224×224 pixels and 4 channels .*input_size=.channels"):
        FrozenTeacher(Stem(3), input_size=(4, 224, 224))


@pytest.mark.parametrize("given", [(0, 1, 2), (1, 2), "321", 3, (1, 2, 2.5)])
def test_channels_that_are_none_name_the_setting(given):
    with pytest.raises(ValueError, match="teacher.image_channels=.*; choose "):
        FrozenTeacher(Stem(3), image_channels=given)


def test_a_timm_teacher_of_other_channels_asks_for_its_mean_and_std():
    given = dict(allow_random_weights=True, in_chans=4)
    with pytest.raises(ValueError, match="in_chans=4, but timm's mean=.*pretrained_cfg_over"):
        TimmTeacher("test_resnet", **given)
    own = dict(mean=(0.5, 0.4, 0.3, 0.2), std=(0.25,) * 4)
    teacher = TimmTeacher("test_resnet", **given, pretrained_cfg_overlay=own)
    assert len(teacher(torch.randn(1, 4, 64, 64))[0]) == 4
    teacher.match_input([0.0] * 4, [255.0] * 4, rgb=True)
    torch.testing.assert_close(teacher.images.scale.flatten(), torch.full((4,), 4.0))


def test_a_students_features_are_measured_with_its_own_channels():
    student = Stem(2)
    assert FeatureRecorder(student).channels(student, (16, 16)) == [4, 5]
