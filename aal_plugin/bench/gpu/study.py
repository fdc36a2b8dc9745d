"""A study at full size: a CNN, then a ViT with and without AAL, on the same drawn images."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import timm
import torch
from timm.task import ClassificationTask
from torch import nn

from aal_plugin.core import TimmTeacher, paper_course
from aal_plugin.data import CLASSES
from aal_plugin.files import written_whole
from aal_plugin.timm import AttentionLinkTask

from .drawn_images import Images, draw
from .processes import Place
from .scale import Scale
from .training import train

TEACHER_LR = 2e-3
STUDENT_LR = 5e-4
LOSS_WEIGHT = 2000.0  # λ of epoch 0


def train_teacher(scale: Scale, place: Place) -> dict[str, Any]:
    """Train the CNN and save its weights in the work folder."""
    return _train_teacher(scale, place, _images(scale))


def train_plain(scale: Scale, place: Place) -> dict[str, Any]:
    """Train the ViT alone."""
    data = _images(scale)
    model = _student(scale)
    task = ClassificationTask(model, nn.CrossEntropyLoss(), verbose=False)
    return train(task, model, data, scale.epochs, STUDENT_LR, scale)


def train_linked(scale: Scale, place: Place) -> dict[str, Any]:
    """Train the ViT with AAL; trains the CNN first if its weights are missing."""
    data = _images(scale)
    weights = weights_file(scale, place)
    if not weights.is_file():
        _train_teacher(scale, place, data)
    teacher = TimmTeacher(
        scale.teacher,
        checkpoint=str(weights),
        num_classes=len(CLASSES),
        dtype=None if scale.dtype == "float32" else scale.dtype,
    ).to(scale.device)
    model = _student(scale)
    gammas, milestones = paper_course(scale.epochs)
    task = AttentionLinkTask(
        model,
        teacher,
        nn.CrossEntropyLoss(),
        links=scale.links,
        loss_weight=LOSS_WEIGHT,
        gammas=gammas,
        milestones=milestones,
        verbose=False,
    )
    return train(task, model, data, scale.epochs, STUDENT_LR, scale)


def weights_file(scale: Scale, place: Place) -> Path:
    """The teacher's weights; other images or epochs have another file."""
    name = f"{scale.teacher}_{scale.size}px_{scale.train_images}_{scale.teacher_epochs}epochs.pth"
    return place.work / name


def _train_teacher(scale: Scale, place: Place, data: tuple[Images, Images]) -> dict[str, Any]:
    torch.manual_seed(0)
    model = timm.create_model(scale.teacher, num_classes=len(CLASSES))
    model = model.to(scale.device, memory_format=torch.channels_last)
    task = ClassificationTask(model, nn.CrossEntropyLoss(), verbose=False)
    result = train(task, model, data, scale.teacher_epochs, TEACHER_LR, scale)
    with written_whole(weights_file(scale, place)) as part:
        torch.save(model.state_dict(), part)
    return result


def _student(scale: Scale) -> nn.Module:
    torch.manual_seed(0)  # with and without AAL, the same start
    model = timm.create_model(scale.student, num_classes=len(CLASSES), img_size=scale.size)
    return model.to(scale.device)


def _images(scale: Scale) -> tuple[Images, Images]:
    return (
        draw("train", scale.train_images, scale.size, scale.device),
        draw("val", scale.val_images, scale.size, scale.device),
    )
