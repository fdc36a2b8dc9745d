"""What a network says about the images that it takes."""

from __future__ import annotations

from torch import nn


def image_channels_of(model: nn.Module) -> int:
    """The number of channels of a network's images: those of its first convolution, or 3."""
    convs = (module for module in model.modules() if isinstance(module, nn.Conv2d))
    return next((conv.in_channels for conv in convs), 3)
