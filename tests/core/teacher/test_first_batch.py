"""The first batch is held against the normalisation that it is said to have."""

import pytest
import torch

from aal_plugin.core import FrozenTeacher, TimmTeacher

from .test_frozen_teacher import SmallCNN

MEAN, STD = [123.675, 116.28, 103.53], [58.395, 57.12, 57.375]
RAW = ([0.0] * 3, [1.0] * 3)
UNIT = ([0.0] * 3, [255.0] * 3)
CENTRED = ([127.5] * 3, [127.5] * 3)
CAFFE = (MEAN, [1.0] * 3)
TWICE = ([m + s * m for m, s in zip(MEAN, STD)], [s * s for s in STD])


def pixels(size=32):
    """Photo-like 8-bit images: smooth, with dark and bright places in every channel."""
    generator = torch.Generator().manual_seed(0)
    coarse = torch.rand(4, 3, 4, 4, generator=generator)
    smooth = torch.nn.functional.interpolate(coarse, size, mode="bilinear")
    return (255 * smooth.clamp(0, 1)).round()


def normalised(mean, std):
    mean, std = (torch.tensor(values, dtype=torch.float64).view(3, 1, 1) for values in (mean, std))
    return ((pixels().double() - mean) / std).float()


def teacher_of(**match):
    teacher = FrozenTeacher(SmallCNN(), mean=MEAN, std=STD)
    if match:
        teacher.match_input(**match, rgb=True)
    return teacher


@pytest.mark.parametrize("truth", [RAW, UNIT, (MEAN, STD), CENTRED, CAFFE])
def test_images_of_the_declared_normalisation_pass(truth):
    teacher_of(mean=truth[0], std=truth[1])(normalised(*truth))


@pytest.mark.parametrize(
    ("truth", "said"),
    [
        ((MEAN, STD), RAW),  # normalised in the pipeline, and nothing said
        (UNIT, RAW),  # ToTensor alone
        (RAW, (MEAN, STD)),
        (UNIT, (MEAN, STD)),
        (UNIT, CENTRED),
        (RAW, UNIT),
        (RAW, CENTRED),
        ((MEAN, STD), UNIT),
        (TWICE, (MEAN, STD)),
    ],
)
def test_values_that_contradict_it_stop_the_run(truth, said):
    teacher = teacher_of(mean=said[0], std=said[1])
    with pytest.raises(ValueError, match="teacher SmallCNN would see wrong pixels: the first bat"):
        teacher(normalised(*truth))


def test_a_teacher_of_any_loop_expects_its_own_normalisation_until_it_is_told():
    teacher_of()(normalised(MEAN, STD))
    for wrong in (pixels(), pixels() / 255):
        with pytest.raises(ValueError, match=r"teacher.match_input\(mean, std, rgb\) says how"):
            teacher_of()(wrong)
    FrozenTeacher(SmallCNN())(pixels() / 255)  # it says nothing of its images


@pytest.mark.parametrize("noise", [0.5, 1.0])
def test_noise_of_augmentations_and_one_colour_pass(noise):
    images = normalised(MEAN, STD)
    images[:, :, :16] = noise * torch.randn(4, 3, 16, 32)  # random erasing
    teacher_of(mean=MEAN, std=STD)(images)
    teacher_of(mean=MEAN, std=STD)(torch.zeros(2, 3, 32, 32))
    teacher_of(mean=None, std=None)(torch.zeros(2, 3, 32, 32))


def test_only_the_first_batch_is_looked_at(monkeypatch):
    teacher = teacher_of(mean=MEAN, std=STD)
    teacher(normalised(MEAN, STD))
    monkeypatch.setattr(torch.Tensor, "__float__", lambda self: pytest.fail("waits for the device"))
    teacher(pixels())
    teacher.match_input(MEAN, STD, rgb=True)
    with pytest.raises(pytest.fail.Exception):
        teacher(pixels())


@pytest.mark.parametrize(
    "dtype", [torch.bfloat16, torch.float16, torch.float64], ids=["bf16-true", "16-true", "64-true"]
)
def test_images_of_any_dtype_give_the_float32_teachers_maps(dtype):
    """As Lightning's `precision` of these names gives them to a teacher in float32."""
    torch.manual_seed(0)
    teacher = TimmTeacher("test_resnet", allow_random_weights=True, image_size=48)
    teacher.match_input(MEAN, STD, rgb=False)
    images = torch.randn(2, 3, 32, 32).to(dtype)
    maps, logits = teacher(images, with_logits=True)
    expected, wanted = teacher(images.float(), with_logits=True)
    assert {level.dtype for level in (*maps, logits)} == {torch.float32}
    for got, level in zip((*maps, logits), (*expected, wanted)):
        torch.testing.assert_close(got, level, rtol=1e-4, atol=1e-5)


class Pretends(SmallCNN):
    """Fails for a reason that has nothing to do with the size of its images."""

    def forward(self, x):
        broken = getattr(self, "broken", "")
        if broken == "always" or (broken == "by values" and x.any()):
            raise RuntimeError("cuDNN is out of order")
        return super().forward(x)


def test_an_error_of_another_cause_is_told_as_it_is():
    teacher = FrozenTeacher(Pretends(), fold_norms=False)
    for teacher.model.broken, size in (("always", 64), ("by values", 224)):
        with pytest.raises(RuntimeError, match="^cuDNN is out of order$"):
            teacher(torch.ones(1, 3, size, size))
    with pytest.raises(ValueError, match="teacher Pretends is on cpu and the images on meta; move"):
        teacher(torch.zeros(1, 3, 64, 64, device="meta"))


def test_the_callers_model_is_left_as_it_is_unless_it_is_handed_over():
    model = SmallCNN()
    before = {key: value.clone() for key, value in model.state_dict().items()}
    teacher = FrozenTeacher(model, features=model.forward_features)
    assert model.training and all(p.requires_grad for p in model.parameters())
    assert isinstance(model.layer1[1], torch.nn.BatchNorm2d) and not model.layer1._forward_hooks
    assert list(model.state_dict()) == list(before)
    assert all(torch.equal(model.state_dict()[key], before[key]) for key in before)
    assert teacher._features.__self__ is teacher.model
    owner = FrozenTeacher(model, copy_model=False)
    assert owner.model is model and isinstance(model.layer1[1], torch.nn.Identity)
