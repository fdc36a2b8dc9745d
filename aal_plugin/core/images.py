"""What a network says about the images that it takes."""

from __future__ import annotations

from torch import nn


def image_channels_of(model: nn.Module) -> int:
    """The number of channels of a network's images: those of its first convolution, or 3.

    Example:
        >>> image_channels_of(nn.Sequential(nn.Conv2d(4, 8, 3), nn.Conv2d(8, 8, 3)))
        4
    """
    convs = (module for module in model.modules() if isinstance(module, nn.Conv2d))
    return next((conv.in_channels for conv in convs), 3)
