"""A teacher from timm's model factory."""

from __future__ import annotations

import sys
from argparse import Namespace
from collections.abc import Sequence
from functools import partial
from typing import Any

from torch import Tensor, nn

from aal_plugin.core.layer_names import near_names
from aal_plugin.core.settings import check_flag, check_whole
from aal_plugin.data_only import data_only

from .frozen_teacher import FrozenTeacher
from .teacher_images import checked_size
from .weights import check_weights, load_weights

_OF_EXTRACTION = ("features_only", "out_indices", "feature_cls")  # timm's, of features_only=True


class TimmTeacher(FrozenTeacher):
    """A teacher from timm's model factory: a CNN, a ViT or a hierarchical transformer.

    Args:
        model_name: a name from `timm.list_models()`.
        pretrained: load timm's weights of that name.
        checkpoint: or a file of weights (.pth, .safetensors).
        use_ema: load the averaged weights of a timm run with --model-ema, as timm does for its own
            models; False: the raw ones. Timm's log states which were loaded.
        num_classes: the checkpoint's, if it differs from the model's own; 0: no classifier.
        allow_random_weights: for trials. A random teacher trains without an error and teaches
            noise, so weights are required otherwise.
        layers, channels_last, fold_norms, dtype, compile, image_size, image_channels: see
            `FrozenTeacher`.
        **model_kwargs: passed to `timm.create_model`, such as `img_size` of a ViT, or
            `features_only=True` for the maps that timm itself extracts. Other than three `in_chans`
            need `pretrained_cfg_overlay=dict(mean=..., std=...)`, in pixel values of 0 to 1.

    Raises:
        ValueError: an unknown model, no weights, two sources of weights, weights that do not fit,
            cannot be downloaded or contain NaN.
        FileNotFoundError: no such checkpoint.

    Example:
        >>> import torch
        >>> teacher = TimmTeacher("test_resnet", allow_random_weights=True)
        >>> maps, logits = teacher(torch.zeros(2, 3, 64, 64), with_logits=True)
        >>> [tuple(level.shape) for level in maps][-1], logits.shape
        ((2, 96, 2, 2), torch.Size([2, 1000]))
    """

    def __init__(
        self,
        model_name: str,
        pretrained: bool = False,
        checkpoint: str | None = None,
        layers: Sequence[str] | None = None,
        num_classes: int | None = None,
        allow_random_weights: bool = False,
        channels_last: bool = True,
        fold_norms: bool = True,
        dtype: str | None = None,
        compile: bool = False,
        use_ema: bool = True,
        image_size: int | Sequence[int] | None = None,
        image_channels: Sequence[int] | None = None,
        **model_kwargs: Any,
    ) -> None:
        import timm

        check_weights(pretrained, checkpoint, allow_random_weights)
        check_flag("teacher.use_ema", use_ema)
        if ":" not in model_name and not timm.is_model(model_name):  # "hf-hub:…" names a hub
            raise ValueError(
                f"teacher.model_name={model_name!r} is not a timm model; "
                f"near names: {near_names(model_name, timm.list_models())}"
            )
        if num_classes is not None:
            check_whole("teacher.num_classes", num_classes, 0)
            model_kwargs["num_classes"] = num_classes
        if checkpoint is None:
            model = _created(model_name, pretrained, model_kwargs)
        else:
            model = _loaded(model_name, checkpoint, use_ema, model_kwargs)
        data: dict[str, Any] = getattr(model, "pretrained_cfg")  # noqa: B009  timm's, untyped
        size = model_kwargs.get("img_size", data["input_size"][-2:])
        size = checked_size("teacher.img_size", size) or (224, 224)
        colours = model_kwargs.get("in_chans", data["input_size"][0])
        if len(data["mean"]) != colours or len(data["std"]) != colours:
            raise ValueError(
                f"teacher.in_chans={colours}, but timm's mean={data['mean']}, std={data['std']}; "
                "give teacher.pretrained_cfg_overlay=dict(mean=[...], std=[...]), one number per "
                "channel"
            )
        super().__init__(
            model,
            layers,
            features=getattr(model, "forward_features", None),
            mean=[255 * value for value in data["mean"]],
            std=[255 * value for value in data["std"]],
            channels_last=channels_last,
            fold_norms=fold_norms,
            dtype=dtype,
            compile=compile,
            name=model_name,
            input_size=(colours, *size),
            image_size=image_size,
            image_channels=image_channels,
            copy_model=False,
        )


def _created(model_name: str, pretrained: bool, model_kwargs: dict[str, Any]) -> nn.Module:
    import timm

    published = ":" in model_name or timm.models.is_model_pretrained(model_name)
    own = set(model_kwargs.get("pretrained_cfg_overlay") or ()) - {"mean", "std"}
    if pretrained and not published and not own:  # older timm goes on with random weights
        raise ValueError(
            f"teacher.pretrained=True: timm has no weights for {model_name!r}; give "
            "teacher.checkpoint=FILE, or another teacher.model_name"
        )
    try:
        model: nn.Module = timm.create_model(model_name, pretrained=pretrained, **model_kwargs)
        return model
    except OSError as error:  # URLError and the hub's errors are OSErrors
        if not pretrained:
            raise
        # Without its traceback and causes, which are hundreds of lines of retries.
        error.__cause__ = error.__context__ = None
        raise ValueError(
            f"teacher.pretrained=True: timm's weights for {model_name!r} could not be downloaded; "
            "give teacher.checkpoint=FILE, or use a machine with a network"
        ) from error.with_traceback(None)


def _loaded(
    model_name: str, checkpoint: str, use_ema: bool, model_kwargs: dict[str, Any]
) -> nn.Module:
    """The model with the weights of a file."""
    whole = {key: value for key, value in model_kwargs.items() if key not in _OF_EXTRACTION}
    model = _created(model_name, False, whole)
    load_weights(model, checkpoint, partial(_read, use_ema=use_ema, model=model))
    if not model_kwargs.get("features_only"):
        return model
    # timm renames modules when it extracts features, so the weights are loaded before.
    given = model_kwargs.get("pretrained_cfg_overlay") or {}
    overlay = dict(given, state_dict=model.state_dict())
    return _created(model_name, True, dict(model_kwargs, pretrained_cfg_overlay=overlay))


def _read(checkpoint: str, use_ema: bool, model: nn.Module) -> dict[str, Tensor]:
    """The weights of a file. Of another image size, or under their authors' names, they are
    converted as timm itself converts them: a position embedding is resampled to the model's grid.
    """
    from timm.models import load_state_dict

    with data_only([Namespace]):  # of the options that train.py saves
        weights = dict[str, Tensor](load_state_dict(checkpoint, use_ema=use_ema))
    own = model.state_dict()
    same = own.keys() == weights.keys() and all(own[k].shape == weights[k].shape for k in own)
    convert = getattr(sys.modules[type(model).__module__], "checkpoint_filter_fn", None)
    if same or convert is None:
        return weights
    try:
        return dict(convert(dict(weights), model))
    except Exception:  # of another model: `load_weights` reports what differs
        return weights
