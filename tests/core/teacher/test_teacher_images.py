"""The images that a teacher receives: sizes against Pillow's bicubic, wrong settings."""

import numpy as np
import pytest
import torch
from PIL import Image

from aal_plugin.core import FrozenTeacher, TimmTeacher
from aal_plugin.core.teacher.teacher_images import TeacherImages, checked_size

from .test_frozen_teacher import SmallCNN


def pillows(images, size):
    """Bicubic with antialiasing, channel by channel in float32."""
    height, width = size
    return torch.stack(
        [
            torch.stack(
                [
                    torch.from_numpy(
                        np.array(
                            Image.fromarray(channel.numpy()).resize((width, height), Image.BICUBIC)
                        )
                    )
                    for channel in image
                ]
            )
            for image in images
        ]
    )


@pytest.mark.parametrize("given", [(64, 64), (16, 24), (40, 30)])
def test_images_of_any_size_reach_the_teacher_at_its_own(given):
    model = SmallCNN()
    seen = []
    teacher = FrozenTeacher(model, image_size=(32, 48), fold_norms=False, copy_model=False)
    model.layer1.register_forward_pre_hook(lambda m, args: seen.append(args[0]))
    images = torch.randn(2, 3, *given, generator=torch.Generator().manual_seed(0))
    maps, _ = teacher(images)
    torch.testing.assert_close(seen[0], pillows(images, (32, 48)), rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(maps[0], model.layer1(pillows(images, (32, 48))))


def test_images_of_the_teachers_size_are_not_touched():
    images = torch.randn(2, 3, 8, 8)
    assert TeacherImages(image_size=(8, 8))(images) is images


def test_a_student_at_64_px_learns_from_a_teacher_of_224_px_alone_and_the_reverse():
    small = dict(embed_dim=16, depth=4, num_heads=2)
    fixed = TimmTeacher("deit_tiny_patch16_224", allow_random_weights=True, **small)
    with pytest.raises(ValueError, match=r"does not accept images of 64×64.*image_size=\(224, 224"):
        fixed(torch.zeros(1, 3, 64, 64))
    resized = TimmTeacher(
        "deit_tiny_patch16_224", allow_random_weights=True, image_size=224, **small
    )
    assert resized(torch.zeros(1, 3, 64, 64))[0][0].shape == (1, 16, 14, 14)
    for_64 = TimmTeacher(
        "deit_tiny_patch16_224", allow_random_weights=True, img_size=64, image_size=64, **small
    )
    assert for_64(torch.zeros(1, 3, 224, 160))[0][0].shape == (1, 16, 4, 4)
    with pytest.raises(ValueError, match="does not accept an image of 64×64.*teacher.img_size"):
        TimmTeacher("deit_tiny_patch16_224", allow_random_weights=True, image_size=64, **small)


def test_gradients_reach_the_images_through_the_resizing():
    teacher = FrozenTeacher(SmallCNN().double(), image_size=24, channels_last=False)
    images = torch.randn(1, 3, 16, 16, dtype=torch.float64, requires_grad=True)
    _, logits = teacher(images, with_logits=True, with_gradient=True)
    (gradient,) = torch.autograd.grad(logits[0, 1], images)
    step = torch.zeros_like(images)
    step[0, 2, 5, 7] = 1e-4
    with torch.no_grad():
        higher, lower = (teacher(images + s, with_logits=True)[1][0, 1] for s in (step, -step))
    torch.testing.assert_close(gradient[0, 2, 5, 7], (higher - lower) / 2e-4, rtol=1e-4, atol=1e-9)


def test_a_half_teacher_resizes_in_float32():
    seen = []
    model = SmallCNN()
    teacher = FrozenTeacher(model, image_size=32, dtype="bfloat16", copy_model=False)
    model.layer1.register_forward_pre_hook(lambda m, args: seen.append(args[0]))
    images = torch.randn(2, 3, 64, 64)
    teacher(images)
    torch.testing.assert_close(seen[0].float(), pillows(images, (32, 32)), rtol=2**-8, atol=1e-5)


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        (dict(mean=[1, 2, 3]), r"teacher.mean=\[1, 2, 3\] and teacher.std=None; give both or none"),
        (dict(mean=[1, 2], std=[1, 2]), r"teacher.mean=\[1, 2\]; choose 3 numbers"),
        (dict(mean=[1, 2, 3], std=[1, 2, 0]), r"teacher.std=\[1, 2, 0\]; choose numbers above 0"),
        (dict(mean=[0.5] * 3, std=[0.5] * 3), "units of 0 to 1; give pixel values.*by 255"),
        (dict(mean="abc", std=[1, 2, 3]), "teacher.mean='abc'; choose 3 numbers"),
        (dict(mean=[1, None, 3], std=[1, 2, 3]), "teacher.mean=None; choose 3 numbers"),
    ],
)
def test_wrong_means_and_deviations_name_the_key(settings, words):
    with pytest.raises(ValueError, match=words):
        TeacherImages(**settings)


@pytest.mark.parametrize("size", [0, -4, 2.5, "224", [], [224, 224, 3], [224, None], True])
def test_sizes_that_are_none_are_rejected(size):
    with pytest.raises(ValueError, match="teacher.image_size=.*; choose (one|a) whole number"):
        checked_size("teacher.image_size", size)
