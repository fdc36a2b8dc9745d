"""`SmallResNet`: the teachers of the quickstart and of CIFAR-100."""

from typing import Any

from mmpretrain.models.backbones import ResNet_CIFAR
from mmpretrain.models.backbones.resnet import BasicBlock
from mmpretrain.registry import MODELS


@MODELS.register_module()
class SmallResNet(ResNet_CIFAR):
    """MMPretrain's ResNet for small images at depths it lacks.

    Depth 10 has one block in each of four stages. Depth 56 is CIFAR's ResNet-56 (He et al., 2016):
    nine blocks in each of three stages of 16, 32 and 64 channels.
    """

    arch_settings = {
        10: (BasicBlock, (1, 1, 1, 1)),
        56: (BasicBlock, (9, 9, 9)),
        **ResNet_CIFAR.arch_settings,
    }

    def __init__(self, depth: int, **kwargs: Any) -> None:
        if depth == 56:
            three = dict(num_stages=3, strides=(1, 2, 2), dilations=(1, 1, 1), out_indices=(2,))
            kwargs = dict(stem_channels=16, base_channels=16, **three) | kwargs
        super().__init__(depth, **kwargs)
