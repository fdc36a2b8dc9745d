"""What images a network takes, and a context in which to try it with one."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import nn


def image_channels_of(model: nn.Module) -> int:
    """The number of channels of a network's images: those of its first convolution, or 3."""
    convs = (module for module in model.modules() if isinstance(module, nn.Conv2d))
    return next((conv.in_channels for conv in convs), 3)


@contextmanager
def trial(model: nn.Module) -> Iterator[None]:
    """Eval mode without gradients: a pass leaves no running statistics and draws no random numbers.

    Afterwards each module has its own mode again.
    """
    modes = {module: module.training for module in model.modules()}
    model.eval()  # LeViT prepares its position biases there
    try:
        with torch.no_grad():
            yield
    finally:
        for module, mode in modes.items():
            module.training = mode
