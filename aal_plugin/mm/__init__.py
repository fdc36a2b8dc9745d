"""Registered MMEngine parts, thin over `aal_plugin.core`.

Importing this registers them and changes nothing else in the process.
"""

from importlib.util import find_spec as _find_spec

_missing = [name for name in ("mmengine", "mmcv", "mmpretrain") if _find_spec(name) is None]
if _missing:
    raise ImportError(
        f"aal_plugin.mm needs {', '.join(_missing)}; install with: pip install "
        "'aal_plugin[mm]' (or 'aal_plugin[onedl]', the maintained fork)"
    )

from mmpretrain.registry import MODELS

from aal_plugin.core import TimmTeacher

from .datasets.class_balanced_subset import ClassBalancedSubset
from .datasets.cub_with_boxes import CropToBox, CUBWithBoxes
from .datasets.digits_dataset import DigitsDataset
from .datasets.repeated_views import RepeatedViews
from .datasets.shapes_dataset import ShapesDataset
from .evaluation.localization_accuracy import LocalizationAccuracy
from .hooks.attention_in_prediction import AttentionInPrediction
from .hooks.deit_lr import DeiTLR
from .hooks.fit_check_hook import FitCheckHook
from .hooks.kept_ema_hook import KeptEMAHook
from .hooks.lambda_decay_hook import LambdaDecayHook
from .hooks.link_heatmap_hook import LinkHeatmapHook
from .hooks.reset_momentum_hook import ResetMomentumHook
from .hooks.teacher_accuracy_hook import TeacherAccuracyHook
from .models.backbones.mimetic_vit import MimeticViT
from .models.backbones.network_in_network import NetworkInNetwork
from .models.backbones.small_resnet import SmallResNet
from .models.backbones.timm_pooled_backbone import TIMMPooledBackbone
from .models.backbones.wide_resnet import WideResNet
from .models.classifier import AALClassifier
from .models.deit_init import DeiTInit
from .models.heads.attention_link_head import AttentionLinkHead
from .models.heads.distill_head import DistillHead
from .models.heads.transfer_heads import ActivationTransferHead, GradientTransferHead, HintHead
from .models.mm_teacher import MMTeacher
from .models.module_teacher import ModuleTeacher
from .runs.finite_loss import FiniteLossHook
from .runs.fsdp import WholeFSDPStrategy
from .runs.loops import ResumableEpochLoop, ResumableIterLoop
from .runs.resuming import ExactResumeHook
from .runs.saving import SafeCheckpointHook
from .runs.stopping import StopSignalHook

MODELS.register_module(module=TimmTeacher)
