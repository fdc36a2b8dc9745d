"""Builds an `AALClassifier`'s teacher, and fits it to the student's images."""

from __future__ import annotations

from mmpretrain.registry import MODELS
from torch import nn

from aal_plugin.core import FrozenTeacher

from .heads.teacher_head import ACTIVATIONS, TEACHER_GRADIENT, TEACHER_LOGITS


def built_teacher(
    given: dict | FrozenTeacher | None,
    needs: frozenset[str],
    pixels: nn.Module,
    rgb: bool | None,
) -> FrozenTeacher | None:
    """The teacher, set to re-normalise the student's images to its own mean, std and colours.

    Args:
        given: the config's `teacher`, a teacher, or None.
        needs: what the heads need, of student and teacher.
        pixels: the classifier's data preprocessor.
        rgb: the config's `images_rgb`.

    Raises:
        ValueError: no teacher where a head needs one, or the student's images may be RGB or BGR.
    """
    if rgb is not None and not isinstance(rgb, bool):
        raise ValueError(f"model.images_rgb={rgb!r}; choose True, False or None")
    if given is None:
        of_teacher = needs & {ACTIVATIONS, TEACHER_LOGITS, TEACHER_GRADIENT}
        if of_teacher:
            raise ValueError(
                f"AALClassifier has no teacher, but its heads need the teacher's "
                f"{', '.join(sorted(of_teacher))}; add teacher=dict(type='TimmTeacher', …)"
            )
        return None
    teacher: FrozenTeacher = given if isinstance(given, nn.Module) else MODELS.build(given)
    if rgb is None:
        rgb = getattr(pixels, "to_rgb", True)
        if not rgb and not getattr(teacher, "to_rgb", True):
            rgb = teacher.rgb  # both were given the same kind of images
        elif not rgb and teacher.normalises and teacher.rgb and hasattr(pixels, "mean"):
            raise ValueError(
                "data_preprocessor.to_rgb=False does not say whether the teacher's images are RGB "
                "(CIFAR's are RGB on disk, files loaded by mmcv are BGR); set "
                "model.images_rgb=True or False"
            )
    values = (getattr(pixels, name, None) for name in ("mean", "std"))
    mean, std = (None if value is None else value.flatten().tolist() for value in values)
    teacher.match_input(mean, std, rgb=rgb)
    return teacher
