"""Registered MMEngine parts, thin over `aal_plugin.core`. Importing this registers them."""

from mmpretrain.registry import MODELS

from ..core import TimmTeacher
from . import torch_load  # noqa: F401
from .attention_in_prediction import AttentionInPrediction
from .attention_link_head import AttentionLinkHead
from .cifar_backbones import NetworkInNetwork, WideResNet
from .class_balanced_subset import ClassBalancedSubset
from .classifier import AALClassifier
from .crop_to_box import CropToBox
from .cub_with_boxes import CUBWithBoxes
from .deit_init import DeiTInit
from .deit_lr import DeiTLR
from .distill_head import DistillHead
from .finite_loss_hook import FiniteLossHook
from .fit_check_hook import FitCheckHook
from .kept_ema_hook import KeptEMAHook
from .lambda_decay_hook import LambdaDecayHook
from .link_heatmap_hook import LinkHeatmapHook
from .localization_accuracy import LocalizationAccuracy
from .mm_teacher import MMTeacher
from .padded_random_crop import PaddedRandomCrop
from .random_state_hook import RandomStateHook
from .reset_momentum_hook import ResetMomentumHook
from .resize_edge_with_boxes import ResizeEdgeWithBoxes
from .resumable_loops import ResumableEpochLoop, ResumableIterLoop
from .safe_checkpoint_hook import SafeCheckpointHook
from .shapes_dataset import ShapesDataset
from .small_resnet import SmallResNet
from .stop_signal_hook import StopSignalHook
from .teacher_accuracy_hook import TeacherAccuracyHook
from .timm_pooled_backbone import TIMMPooledBackbone
from .transfer_heads import ActivationTransferHead, GradientTransferHead, HintHead
from .whole_fsdp_strategy import WholeFSDPStrategy

MODELS.register_module(module=TimmTeacher)

__all__ = [
    "AALClassifier",
    "ActivationTransferHead",
    "AttentionInPrediction",
    "AttentionLinkHead",
    "CUBWithBoxes",
    "ClassBalancedSubset",
    "CropToBox",
    "DeiTInit",
    "DeiTLR",
    "DistillHead",
    "FiniteLossHook",
    "FitCheckHook",
    "GradientTransferHead",
    "HintHead",
    "KeptEMAHook",
    "LambdaDecayHook",
    "LinkHeatmapHook",
    "LocalizationAccuracy",
    "MMTeacher",
    "NetworkInNetwork",
    "PaddedRandomCrop",
    "RandomStateHook",
    "ResetMomentumHook",
    "ResizeEdgeWithBoxes",
    "ResumableEpochLoop",
    "ResumableIterLoop",
    "SafeCheckpointHook",
    "ShapesDataset",
    "SmallResNet",
    "StopSignalHook",
    "TIMMPooledBackbone",
    "TeacherAccuracyHook",
    "TimmTeacher",
    "WholeFSDPStrategy",
    "WideResNet",
]
