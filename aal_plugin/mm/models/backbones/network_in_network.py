"""`NetworkInNetwork`: the network of attention transfer's Tables 1 and 3, on CIFAR-10.

Its three groups, `layer1` to `layer3`, are the levels of attention transfer.
"""

from __future__ import annotations

from mmpretrain.models.backbones.base_backbone import BaseBackbone
from mmpretrain.registry import MODELS
from torch import Tensor, nn

from .wide_resnet import START, InitCfg


@MODELS.register_module()
class NetworkInNetwork(BaseBackbone):
    """NIN: three groups of a 3×3 and two 1×1 convolutions, pooled by two between them.

    Args:
        width: channels of every convolution. In attention transfer's tables 96 is the thin network
            (0.2 million parameters) and 208 the wide one (1 million).
        batch_norm: normalise each convolution.
        relu_before_pooling: end each group with a ReLU; by default as `batch_norm`: without batch
            norm, NIN trains better without these ReLUs (section 4.1.3 of attention transfer).
        init_cfg: see `WideResNet`.
    """

    def __init__(
        self,
        width: int = 96,
        batch_norm: bool = True,
        relu_before_pooling: bool | None = None,
        init_cfg: InitCfg = START,
    ) -> None:
        super().__init__(init_cfg)
        if relu_before_pooling is None:
            relu_before_pooling = batch_norm
        for group, channels in ((1, 3), (2, width), (3, width)):
            layers: list[nn.Module] = []
            for index, (inputs, kernel) in enumerate(((channels, 3), (width, 1), (width, 1))):
                layers.append(
                    nn.Conv2d(inputs, width, kernel, padding=kernel // 2, bias=not batch_norm)
                )
                if batch_norm:
                    layers.append(nn.BatchNorm2d(width))
                if relu_before_pooling or index < 2:
                    layers.append(nn.ReLU())
            self.add_module(f"layer{group}", nn.Sequential(*layers))
        self.pool = nn.MaxPool2d(kernel_size=2)

    def forward(self, images: Tensor) -> tuple[Tensor]:
        """Images (B, 3, H, W) → a tuple of one, (B, width, H/4, W/4)."""
        return (self.layer3(self.pool(self.layer2(self.pool(self.layer1(images))))),)
