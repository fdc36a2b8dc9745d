"""Registered MMEngine parts, thin over `aal_plugin.core`. Importing this registers them."""

from mmpretrain.registry import MODELS

from ..core import TimmTeacher
from . import torch_load  # noqa: F401
from .attention_link_head import AttentionLinkHead
from .class_balanced_subset import ClassBalancedSubset
from .classifier import AALClassifier
from .lambda_decay_hook import LambdaDecayHook
from .mm_teacher import MMTeacher
from .shapes_dataset import ShapesDataset
from .small_resnet import SmallResNet
from .timm_pooled_backbone import TIMMPooledBackbone

MODELS.register_module(module=TimmTeacher)

__all__ = [
    "AALClassifier",
    "AttentionLinkHead",
    "ClassBalancedSubset",
    "LambdaDecayHook",
    "MMTeacher",
    "ShapesDataset",
    "SmallResNet",
    "TIMMPooledBackbone",
    "TimmTeacher",
]
