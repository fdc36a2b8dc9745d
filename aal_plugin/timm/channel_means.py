"""Means and standard deviations for images of any number of channels."""

from __future__ import annotations

from collections.abc import Sequence

from torch import nn

from aal_plugin.core.images import image_channels_of


def one_per_channel(values: Sequence[float], model: nn.Module) -> Sequence[float]:
    """A mean or std for the model's images: the average if it has another number of channels.

    timm's loader normalises with the average, and its `pretrained_cfg` always has three values.
    """
    channels = image_channels_of(model)
    same = len(values) == channels
    return values if same else [sum(values) / len(values)] * channels
