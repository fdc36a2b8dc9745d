"""`LateTeacher`: an `AALClassifier`'s teacher, which gets its weights when training needs them."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import torch
from mmengine.logging import print_log
from mmpretrain.registry import MODELS
from torch import Tensor, nn

from aal_plugin.core import FrozenTeacher
from aal_plugin.core.images import image_channels_of
from aal_plugin.core.teacher.kept_maps import read_key
from aal_plugin.core.teacher.teacher_images import pixel_values
from aal_plugin.core.teacher.weights import check_weights

from .teacher_source import TeacherSource

_ADVICE = (
    "normalise images once, in data_preprocessor or in the pipeline, or set model.images_mean and "
    "model.images_std (in pixel values) to what both do together"
)


class LateTeacher(nn.Module):
    """A teacher that is built with its weights when it is first needed.

    Predictions do not run it, so a test needs no file of its weights. Until `get`, its architecture
    with random weights gives the heads their channels and classes; `forget` drops that.

    Attributes:
        built: the teacher, or None until it is needed.
        waits: whether it is needed no sooner than one of its kept maps is missing.

    Raises:
        ValueError: the config names no weights, or two sources of them.
    """

    def __init__(self, given: dict | FrozenTeacher) -> None:
        super().__init__()
        self._config: dict | None = None
        self.source: TeacherSource | None = None
        self.pixels: Any = None  # what it does to images, while it is not built
        self.waits = False
        self.said: dict[str, Any] = {}  # of the student's images
        # Its device and dtype become the teacher's, as if the teacher had been here from the start.
        self.register_buffer("_like", torch.zeros(()))
        if isinstance(given, nn.Module):
            self.built: Any = given
            return
        checkpoint, pretrained = given.get("checkpoint"), given.get("pretrained", False)
        kind = given.get("type")
        kind = MODELS.get(kind) if isinstance(kind, str) else kind
        # A class of somebody else may have no `allow_random_weights`.
        ours = getattr(kind, "__module__", "").startswith("aal_plugin.")
        if ours and (checkpoint or pretrained):
            check_weights(pretrained, checkpoint, False)
            self._config = copy.deepcopy(given)
            given = architecture_of(given)
        self.built = MODELS.build(given)

    def get(self) -> FrozenTeacher:
        """The teacher with its weights."""
        if self.built is None:
            self.waits = False
            with torch.random.fork_rng(devices=[]):
                teacher = MODELS.build(copy.deepcopy(self._config))
            teacher.match_input(**self.said)
            self.built = teacher.to(self._like)
        return self.built

    def forward(self, images: Tensor) -> tuple[list[Tensor], Tensor | None]:
        """See `FrozenTeacher`; builds it if need be."""
        if self.waits:
            print_log("kept maps: one is missing, so the teacher is built", logger="current")
        maps, logits = self.get()(images)
        return maps, logits

    def expect(self, folder: str | Path) -> None:
        """Wait for a missing map if the folder holds maps of this teacher."""
        if self.built is None and self.source is not None and not self.waits:
            self.waits = self.source.made(folder)

    def key(self, folder: str | Path) -> dict[str, Any] | None:
        """The `teacher_key` of a teacher that waits for a missing map of the folder, or None."""
        key = read_key(Path(folder)) if self.waits else None
        if key is None:
            return None
        own = {name: key[name] for name in ("teacher", "teacher weights", "layers")}
        return dict(own, normalisation=self.pixels.key())

    def match(self, mean: Any, std: Any, rgb: bool) -> None:
        """See `FrozenTeacher.match_input`."""
        self.said = dict(mean=mean, std=std, rgb=rgb, advice=_ADVICE)
        if self.built is not None:
            self.built.match_input(**self.said)
        else:
            self.pixels.match(**self.said, device=self._like.device)

    def forget(self) -> None:
        """Drop the architecture with random weights; `get` builds the teacher."""
        if self._config is not None:
            self.source = TeacherSource(self._config, self.built)
            self.pixels, self.built = self.built.images, None

    def __deepcopy__(self, memo: dict[int, Any]) -> LateTeacher:
        return self


def architecture_of(teacher: dict) -> dict:
    """A teacher's config with random weights and without what takes time or a file."""
    given = dict(teacher, checkpoint=None, allow_random_weights=True)
    given.update(fold_norms=False, compile=False, dtype=None)
    if "pretrained" in given:
        given["pretrained"] = False
    return given


def late_teacher(
    given: dict | FrozenTeacher, model: Any, mean: Any, std: Any, rgb: bool | None
) -> LateTeacher:
    """The teacher, set to re-normalise the student's images to its own mean, std and colours.

    Args:
        model: the classifier, of which backbone and data preprocessor exist.
        mean, std, rgb: the config's `images_mean`, `images_std` and `images_rgb`.

    Raises:
        ValueError: the student's images may be RGB or BGR.
    """
    _check_images(mean, std, rgb)
    late = LateTeacher(given)
    teacher, pixels = late.get(), model.data_preprocessor
    normalised = hasattr(pixels, "mean") or mean is not None
    coloured = normalised and image_channels_of(model.backbone) == 3
    if rgb is None:
        rgb = getattr(pixels, "to_rgb", True)
        if not rgb and not getattr(teacher, "to_rgb", True):
            rgb = teacher.images.rgb  # both were given the same kind of images
        elif not rgb and teacher.images.mean and teacher.images.rgb and coloured:
            raise ValueError(
                "data_preprocessor.to_rgb=False does not say whether the teacher's images are RGB "
                "(CIFAR's are RGB on disk, files loaded by mmcv are BGR); set "
                "model.images_rgb=True or False"
            )
    if mean is None and hasattr(pixels, "mean"):
        mean, std = pixels.mean.flatten().tolist(), pixels.std.flatten().tolist()
    late.match(mean, std, rgb)
    return late


def _check_images(mean: Any, std: Any, rgb: Any) -> None:
    if rgb is not None and not isinstance(rgb, bool):
        raise ValueError(f"model.images_rgb={rgb!r}; choose True, False or None")
    if (mean is None) != (std is None):
        raise ValueError(f"model.images_mean={mean!r} and images_std={std!r}; give both or none")
    if mean is not None:
        pixel_values("model.images_mean", mean, low=0)
        pixel_values("model.images_std", std, low=1e-6)
