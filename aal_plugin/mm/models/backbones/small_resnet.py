"""`SmallResNet`: the quickstart's teacher."""

from mmpretrain.models.backbones import ResNet_CIFAR
from mmpretrain.models.backbones.resnet import BasicBlock
from mmpretrain.registry import MODELS


@MODELS.register_module()
class SmallResNet(ResNet_CIFAR):
    """MMPretrain's ResNet for small images at a depth it lacks: 10, one block a stage."""

    arch_settings = {10: (BasicBlock, (1, 1, 1, 1)), **ResNet_CIFAR.arch_settings}
