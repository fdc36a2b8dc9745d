"""`WideResNet`: the wide residual networks of attention transfer's CIFAR-10 tables.

Its three groups, `layer1` to `layer3`, are the levels of attention transfer. Its first weights are
drawn as in the published code (utils.py): convolutions by fan-in, batch-norm scales from U(0, 1).
"""

from __future__ import annotations

from collections.abc import Sequence

from mmpretrain.models.backbones.base_backbone import BaseBackbone
from mmpretrain.registry import MODELS
from torch import Tensor, nn

InitCfg = dict | Sequence[dict] | None
START = (
    dict(type="Kaiming", layer="Conv2d", mode="fan_in", nonlinearity="relu"),
    dict(type="Uniform", layer="_BatchNorm", a=0.0, b=1.0),
)


@MODELS.register_module()
class WideResNet(BaseBackbone):
    """WRN-d-k (Zagoruyko and Komodakis, 2016): pre-activation blocks in groups of 16k, 32k, 64k.

    Args:
        depth: d, 6n + 4 for n blocks in each group.
        widen_factor: k.
        batch_norm: False for double back-propagation without batch statistics.
        init_cfg: MMEngine's; by default the first weights of attention transfer's code.

    Raises:
        ValueError: a depth that is not 6n + 4.
    """

    def __init__(
        self,
        depth: int,
        widen_factor: int = 1,
        batch_norm: bool = True,
        init_cfg: InitCfg = START,
    ) -> None:
        super().__init__(init_cfg)
        if depth < 10 or (depth - 4) % 6:
            raise ValueError(f"backbone.depth={depth}; choose 10, 16, 22, 28, 34, 40, … (6n + 4)")
        blocks = (depth - 4) // 6
        widths = [16, 16 * widen_factor, 32 * widen_factor, 64 * widen_factor]
        self.conv1 = nn.Conv2d(3, 16, kernel_size=3, padding=1, bias=not batch_norm)
        for group in (1, 2, 3):
            layers = [
                _PreActivation(
                    widths[group - 1] if block == 0 else widths[group],
                    widths[group],
                    stride=2 if block == 0 and group > 1 else 1,
                    batch_norm=batch_norm,
                )
                for block in range(blocks)
            ]
            self.add_module(f"layer{group}", nn.Sequential(*layers))
        self.norm = _norm(widths[3], batch_norm)
        self.relu = nn.ReLU()

    def forward(self, images: Tensor) -> tuple[Tensor]:
        """Images (B, 3, H, W) → a tuple of one, (B, 64k, H/4, W/4)."""
        features = self.layer3(self.layer2(self.layer1(self.conv1(images))))
        return (self.relu(self.norm(features)),)


class _PreActivation(nn.Module):
    def __init__(self, channels: int, width: int, stride: int, batch_norm: bool) -> None:
        super().__init__()
        bias = not batch_norm
        self.norm1 = _norm(channels, batch_norm)
        self.conv1 = nn.Conv2d(channels, width, 3, stride, padding=1, bias=bias)
        self.norm2 = _norm(width, batch_norm)
        self.conv2 = nn.Conv2d(width, width, 3, padding=1, bias=bias)
        self.relu = nn.ReLU()
        changes = channels != width or stride != 1
        self.shortcut = nn.Conv2d(channels, width, 1, stride, bias=False) if changes else None

    def forward(self, features: Tensor) -> Tensor:
        active = self.relu(self.norm1(features))
        residual = self.conv2(self.relu(self.norm2(self.conv1(active))))
        return residual + (features if self.shortcut is None else self.shortcut(active))


def _norm(channels: int, batch_norm: bool) -> nn.Module:
    return nn.BatchNorm2d(channels) if batch_norm else nn.Identity()
