"""`AttentionLinkHead`: the trainable links and λ."""

from __future__ import annotations

from typing import Optional, Sequence, Tuple, Union

import torch
from mmengine.model import BaseModule
from mmpretrain.registry import MODELS
from torch import Tensor

from ..core import AttentionLinks, link_ranges
from ..core.links import Links


@MODELS.register_module()
class AttentionLinkHead(BaseModule):
    """AAL's attention augmentation module and its loss (AAL, Eq. 4 to 6).

    Training state is the links alone, `links.<level>.weight|bias`; λ follows from the epoch and
    is not saved.

    Args:
        links: 'full', 'alpha', 'beta', or one (first, last) pair of student blocks for each
            teacher level, 1-based and inclusive.
        loss_weight: λ of epoch 0; `LambdaDecayHook` lowers it.
        map_size: side, or (h, w), of the grid on which maps are compared; by default the
            student's patch grid, or 14 where its blocks have several.
        antialias: smooth teacher maps before they are made smaller; the paper does not.

    Raises:
        ValueError: a setting out of its range; unknown links once connected.
    """

    def __init__(
        self,
        links: Links = "full",
        loss_weight: float = 2000.0,
        map_size: Union[int, Tuple[int, int], None] = None,
        antialias: bool = False,
        init_cfg: Optional[dict] = None,
    ) -> None:
        super().__init__(init_cfg)
        if loss_weight < 0:
            raise ValueError(f"link_head.loss_weight={loss_weight}; choose 0 or more")
        self.topology = links
        self.loss_weight = float(loss_weight)
        self.map_size = _as_grid(map_size)
        self.antialias = antialias
        # A tensor, so that a new λ each epoch does not make torch.compile start again; beside it
        # a flag, so that no step waits for the device to learn that λ is 0.
        self.register_buffer("weight", torch.tensor(self.loss_weight), persistent=False)
        self.active = self.loss_weight > 0

    def connect(self, heads: Sequence[int], channels: Sequence[int]) -> None:
        """Make the links, from the heads of each student block and the channels of each level."""
        ranges = link_ranges(self.topology, len(channels), len(heads))
        self.links = AttentionLinks(ranges, heads, channels)

    def set_weight(self, weight: float) -> None:
        """Set λ for the steps to come."""
        self.weight.fill_(weight)
        self.active = weight > 0

    def loss(self, maps: Sequence[Tensor], activations: Sequence[Tensor]) -> dict:
        """`loss_link` = λ · L_att, `link_distance` = L_att and `link_weight` = λ.

        Args:
            maps: attention maps of every student block, (B, M, h, w) each.
            activations: teacher maps of every level, (B, C, H, W) each.
        """
        distance = self.links.distance(maps, activations, self.map_size, self.antialias)
        return dict(
            loss_link=self.weight * distance,
            link_distance=distance.detach(),
            link_weight=self.weight,
        )

    def idle_loss(self) -> dict:
        """A zero that still reaches the links, since DDP waits for a gradient of everything."""
        zero = sum(0.0 * parameter.sum() for parameter in self.links.parameters())
        return dict(loss_link=zero, link_weight=self.weight)


def _as_grid(size: Union[int, Sequence[int], None]) -> Optional[Tuple[int, int]]:
    if size is None:
        return None
    grid = (size, size) if isinstance(size, int) else tuple(size)
    if len(grid) != 2 or not all(isinstance(side, int) and side > 0 for side in grid):
        raise ValueError(f"link_head.map_size={size!r}; choose a positive side, (h, w), or None")
    return grid
