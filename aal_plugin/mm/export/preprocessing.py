"""How images become the input of a student, in the words of timm and as ONNX metadata."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from aal_plugin.mm.configs.types import type_name
from aal_plugin.mm.models.normalisation import images_normalisation

if TYPE_CHECKING:
    from .formats import Student


def preprocessing(student: Student) -> dict[str, Any]:
    """The `pretrained_cfg` keys of timm: mean and std of pixels in [0, 1], sizes and the crop.

    The crop follows from `ResizeEdge` and `CenterCrop` of the test pipeline; without them the
    whole image is resized.
    """
    channels, *_ = input_size = student.images.shape[1:]
    own = images_normalisation(student.config, student.model.data_preprocessor, "test_dataloader")
    mean, std = (values * (channels // len(values)) for values in (own.mean, own.std))
    settings: dict[str, Any] = dict(
        mean=[round(value / 255, 6) for value in mean],
        std=[round(value / 255, 6) for value in std],
        input_size=tuple(input_size),
        tag="aal",  # not the tag and license of timm's weights
        license=None,
        crop_pct=1.0,
    )
    loader = student.config.get("test_dataloader") or {}
    steps = {type_name(step): step for step in (loader.get("dataset") or {}).get("pipeline", [])}
    if "ResizeEdge" in steps and "CenterCrop" in steps:
        crop = steps["CenterCrop"]["crop_size"]
        crop = crop if isinstance(crop, int) else crop[0]
        settings["crop_pct"] = round(crop / steps["ResizeEdge"]["scale"], 4)
        settings["interpolation"] = steps["ResizeEdge"].get("interpolation", "bilinear")
    return settings


def metadata(student: Student) -> dict[str, str]:
    """The same settings and the class names as text, for the metadata of an ONNX file."""
    settings = preprocessing(student)
    if student.classes:
        settings["classes"] = student.classes
    return {key: json.dumps(value) for key, value in settings.items()}
