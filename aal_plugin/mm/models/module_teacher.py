"""`ModuleTeacher`: any module as a teacher."""

from __future__ import annotations

import copy
from functools import partial
from typing import Any

from mmpretrain.registry import MODELS
from torch import nn

from aal_plugin.core import FrozenTeacher
from aal_plugin.core.teacher.weights import check_weights, load_weights

from .teacher_weights import read_weights

# How libraries ask for their own weights: timm and torch.hub, torchvision, and its backbones.
_OWN_WEIGHTS = ("pretrained", "weights", "weights_backbone")


@MODELS.register_module()
class ModuleTeacher(FrozenTeacher):
    """A teacher of your own: any module that a config can name, and a file of its weights.

    Args:
        model: `dict(type=..., **arguments)`, whose type is a registered MMPretrain module or the
            dotted name of a class or function, such as 'torchvision.models.resnet18'; or a module,
            of which the teacher uses a copy.
        checkpoint: a file of weights (.pth, .safetensors); they must fit the model exactly.
        checkpoint_prefix: load only the weights whose names begin with it, without it, such as
            'backbone.' of a detector's file.
        pretrained: `model` itself loads weights (`weights='DEFAULT'` of torchvision,
            `pretrained=True` of timm).
        allow_random_weights: for trials, see `TimmTeacher`.
        **options: see `FrozenTeacher`: layers, mean, std, rgb, image_size, image_channels,
            input_size, num_prefix_tokens, channels_last, fold_norms, dtype, compile. Mean and std
            are pixel values: torchvision's mean 0.485 is 123.675 here.

    Raises:
        FileNotFoundError, ValueError: no such model or weights, or weights that do not fit.
    """

    def __init__(
        self,
        model: dict | nn.Module,
        checkpoint: str | None = None,
        checkpoint_prefix: str = "",
        pretrained: bool = False,
        allow_random_weights: bool = False,
        **options: Any,
    ) -> None:
        check_weights(pretrained, checkpoint, allow_random_weights)
        if isinstance(model, nn.Module):
            model = copy.deepcopy(model)  # weights are loaded into it
        else:
            model = _built(model, pretrained, allow_random_weights)
        if checkpoint is not None:
            read = partial(read_weights, prefix=checkpoint_prefix)
            load_weights(model, checkpoint, read, "in teacher.model, the number of classes")
        super().__init__(model, copy_model=False, **options)


def _built(model: dict, pretrained: bool, allow_random_weights: bool) -> nn.Module:
    if not isinstance(model, dict) or "type" not in model:
        raise ValueError(f"teacher.model={model!r}; give dict(type='PACKAGE.CALLABLE', ...)")
    model = dict(model)
    asked = [key for key in _OWN_WEIGHTS if model.get(key)]
    if asked and not pretrained:
        if not allow_random_weights:
            raise ValueError(
                f"teacher.model.{asked[0]}={model[asked[0]]!r} loads weights beside "
                "teacher.checkpoint; remove it, or give teacher.pretrained=True without checkpoint"
            )
        # An export or a dry run needs no weights, and so no download.
        model.update({key: False if key == "pretrained" else None for key in asked})
    kind = model["type"]
    try:
        built = MODELS.build(model)
    except (KeyError, ImportError, AttributeError, TypeError) as error:
        raise ValueError(
            f"teacher.model.type={kind!r} could not be built ({type(error).__name__}: {error}); "
            "give a registered module or the dotted name of a class or function, and its arguments"
        ) from error
    if not isinstance(built, nn.Module):
        raise ValueError(
            f"teacher.model.type={kind!r} returns a {type(built).__name__}; expected a "
            "torch.nn.Module"
        )
    return built
