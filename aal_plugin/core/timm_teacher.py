"""A teacher from timm's model factory."""

from __future__ import annotations

from functools import partial
from typing import Any, Optional, Sequence

from .stages import near_names
from .teacher import FrozenTeacher
from .weights import check_weights, load_weights


class TimmTeacher(FrozenTeacher):
    """A teacher from timm's model factory.

    Args:
        model_name: any name of `timm.list_models()`.
        pretrained: load timm's weights of that name.
        checkpoint: or a file of weights for it (.pth, .safetensors).
        taps: see `FrozenTeacher`.
        num_classes: of the checkpoint, where it differs from the model's own.
        allow_random_weights: for trials; a random teacher trains without a complaint and
            regularises toward noise, so weights are demanded otherwise.
        channels_last, fold_norms, dtype, compile: see `FrozenTeacher`.
        **model_kwargs: passed on to `timm.create_model`.

    Raises:
        ValueError: an unknown model, no weights, two sources of weights, weights that do not fit.
        FileNotFoundError: no such checkpoint.
    """

    def __init__(
        self,
        model_name: str,
        pretrained: bool = False,
        checkpoint: Optional[str] = None,
        taps: Optional[Sequence[str]] = None,
        num_classes: Optional[int] = None,
        allow_random_weights: bool = False,
        channels_last: bool = True,
        fold_norms: bool = True,
        dtype: Optional[str] = None,
        compile: bool = False,
        **model_kwargs: Any,
    ) -> None:
        import timm
        from timm.models import load_state_dict

        check_weights(pretrained, checkpoint, allow_random_weights)
        if ":" not in model_name and not timm.is_model(model_name):  # "hf-hub:…" names a hub
            raise ValueError(
                f"teacher.model_name={model_name!r} is not a timm model; "
                f"near names: {near_names(model_name, timm.list_models())}"
            )
        if num_classes is not None:
            model_kwargs["num_classes"] = num_classes
        model = timm.create_model(model_name, pretrained=pretrained, **model_kwargs)
        if checkpoint is not None:
            load_weights(model, checkpoint, partial(load_state_dict, use_ema=False))
        data = model.pretrained_cfg
        super().__init__(
            model,
            taps,
            features=getattr(model, "forward_features", None),
            mean=[255 * value for value in data["mean"]],
            std=[255 * value for value in data["std"]],
            channels_last=channels_last,
            fold_norms=fold_norms,
            dtype=dtype,
            compile=compile,
        )
