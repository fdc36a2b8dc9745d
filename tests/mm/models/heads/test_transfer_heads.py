"""Heads of attention transfer against the paper's equations, image by image."""

import copy

import pytest
import torch
import torch.nn.functional as F
from mmengine.logging import MMLogger
from mmpretrain.registry import MODELS

from tests.mm.small import PLAIN, TEACHER, batch, total

# Without batch norm an image's gradient does not depend on its batch.
NIN = dict(
    PLAIN,
    type="AALClassifier",
    backbone=dict(type="NetworkInNetwork", width=8, batch_norm=False),
    neck=dict(type="GlobalAveragePooling"),
    head=dict(type="LinearClsHead", num_classes=10, in_channels=8),
)


def build(**parts):
    MMLogger.get_current_instance().setLevel("ERROR")
    torch.manual_seed(0)
    model = MODELS.build(copy.deepcopy({**NIN, **parts}))
    model.init_weights()
    torch.nn.init.normal_(model.head.fc.weight)
    return model


def gradient_of(logits_of, image, label):
    """∂L/∂x of one image by itself."""
    image = image.clone().requires_grad_()
    loss = -logits_of(image[None]).log_softmax(1)[0, label]
    return torch.autograd.grad(loss, image)[0]


@pytest.mark.parametrize("kind", ["teacher", "symmetry", "norm"])
def test_gradient_losses_are_the_means_over_single_images(kind):
    head = dict(type="GradientTransferHead", kind=kind, loss_weight=7.0)
    teacher = dict(TEACHER, num_classes=10) if kind == "teacher" else None
    model = build(transfer_head=head, teacher=teacher)
    images, samples = batch(size=3, image=(16, 16))
    losses = model(images, samples, mode="loss")

    def students(x):
        return model(x, mode="tensor")

    def teachers(x):
        return model.teacher(x, with_logits=True, with_gradient=True)[1]

    wanted = []
    for image, sample in zip(images, samples):
        label = sample.gt_label.item()
        own = gradient_of(students, image, label)
        if kind == "teacher":
            wanted.append(0.5 * (own - gradient_of(teachers, image, label)).norm())
        elif kind == "norm":
            wanted.append(own.norm())
        else:
            mirrored = image.flip(2)  # left and right
            gap = own - gradient_of(students, mirrored, label).flip(2)
            outputs = students(image[None]) - students(mirrored[None])
            wanted.append(0.5 * gap.norm() + 0.5 * outputs.norm())
    wanted = torch.stack(wanted).mean()
    torch.testing.assert_close(losses["gradient_distance"], wanted.detach(), rtol=1e-4, atol=1e-6)
    torch.testing.assert_close(losses["loss_gradient"], 7 * wanted, rtol=1e-4, atol=1e-6)
    labels = torch.cat([sample.gt_label for sample in samples])
    torch.testing.assert_close(losses["loss"], F.cross_entropy(students(images), labels))


def stages(model, images):
    """Outputs of the student's three groups and of the teacher's five stages, by hooks."""
    kept = []
    groups = [getattr(model.backbone, f"layer{i}") for i in (1, 2, 3)]
    hooks = [group.register_forward_hook(lambda m, a, out: kept.append(out)) for group in groups]
    model(images, mode="tensor")
    for hook in hooks:
        hook.remove()
    return kept, model.teacher(images)[0]


def test_pairs_are_the_last_levels_of_both():
    model = build(transfer_head=dict(type="ActivationTransferHead"), teacher=TEACHER)
    levels = len(model.teacher.channels)
    assert levels > 3, "the teacher must have more levels than the student"
    images, samples = batch(image=(32, 32))
    losses = model(images, samples, mode="loss")
    students, teachers = stages(model, images)
    wanted = 0.0
    for own, other in zip(students, teachers[-3:]):
        maps = []
        for stage in (own, other):
            squares = (stage**2).sum(1, keepdim=True)
            if squares.shape[-2:] != own.shape[-2:]:
                squares = F.interpolate(
                    squares, own.shape[-2:], mode="bicubic", align_corners=False
                )
            flat = squares.flatten(1)
            maps.append(flat / (flat**2).sum(1, keepdim=True).sqrt())
        wanted = wanted + ((maps[0] - maps[1]) ** 2).mean()
    torch.testing.assert_close(losses["loss_transfer"], 1000 * wanted, rtol=1e-4, atol=1e-4)


def test_hints_of_equal_widths_are_compared_directly():
    """The paper's 4.1.2: no 1×1 convolution where the widths are the same."""
    widths = build(transfer_head=dict(type="HintHead"), teacher=TEACHER).teacher.channels
    same = next(i for i, width in enumerate(widths) if width == 48)
    backbone = dict(type="NetworkInNetwork", width=48, batch_norm=False)
    other = next(i for i, width in enumerate(widths) if width != 48)
    model = build(
        backbone=backbone,
        head=dict(NIN["head"], in_channels=48),
        transfer_head=dict(type="HintHead", pairs=[(2, same + 1), (3, other + 1)]),
        teacher=TEACHER,
    )
    shapes = [tuple(p.shape) for p in model.transfer_head.parameters()]
    assert shapes == [(widths[other], 48, 1, 1), (widths[other],)]
    images, samples = batch(image=(32, 32))
    losses = model(images, samples, mode="loss")
    total(losses).backward()
    students, teachers = stages(model, images)
    weight, bias = model.transfer_head.parameters()
    wanted = 0.0
    for own, level in (
        (students[1], same),
        (F.conv2d(students[2], weight, bias), other),
    ):
        size = own.shape[-2:]
        theirs = teachers[level]
        if theirs.shape[-2:] != size:
            theirs = F.interpolate(theirs, size, mode="bicubic", align_corners=False)
        units = [x.flatten(1) / (x**2).sum((1, 2, 3)).sqrt()[:, None] for x in (own, theirs)]
        wanted = wanted + ((units[0] - units[1]) ** 2).sum(1).mean()
    torch.testing.assert_close(losses["loss_hint"], wanted, rtol=1e-4, atol=1e-5)
