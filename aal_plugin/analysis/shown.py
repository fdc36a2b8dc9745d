"""An image with the attention maps of a student and the activation maps of its teacher."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from torch import Tensor


class Shown(NamedTuple):
    """An image (H, W, 3) uint8 RGB and its maps.

    `augmented` and `activations` are None for a model without links.
    """

    name: str
    title: str  # the name, the prediction with its score, and the label
    prediction: str  # such as "ring (83%)"
    image: np.ndarray
    box: np.ndarray | None
    maps: list[Tensor]  # (M, h, w) for every block
    augmented: list[Tensor] | None  # (C, h, w) for every level
    activations: list[Tensor] | None  # (C, H, W) for every level
