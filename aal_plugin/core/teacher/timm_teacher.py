"""A teacher from timm's model factory."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from functools import partial
from typing import Any

from torch import Tensor, nn

from aal_plugin.core.settings import check_flag

from .frozen_teacher import FrozenTeacher
from .stages import near_names
from .weights import check_weights, load_weights

_logger = logging.getLogger(__name__)


class TimmTeacher(FrozenTeacher):
    """A teacher from timm's model factory.

    Args:
        model_name: any name of `timm.list_models()`.
        pretrained: load timm's weights of that name.
        checkpoint: or a file of weights for it (.pth, .safetensors).
        use_ema: of a timm run with --model-ema, load the averaged weights, as timm does for its
            own models; False: the raw ones. Which they were is said in the log.
        layers: see `FrozenTeacher`.
        num_classes: of the checkpoint, where it differs from the model's own; 0: no classifier.
        allow_random_weights: for trials; a random teacher trains without a complaint and
            regularises toward noise, so weights are demanded otherwise.
        channels_last, fold_norms, dtype, compile: see `FrozenTeacher`.
        **model_kwargs: passed on to `timm.create_model`.

    Raises:
        ValueError: an unknown model, no weights, two sources of weights, weights that do not fit,
            cannot be fetched or hold NaN.
        FileNotFoundError: no such checkpoint.
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
            if not isinstance(num_classes, int) or isinstance(num_classes, bool) or num_classes < 0:
                raise ValueError(
                    f"teacher.num_classes={num_classes!r}; choose a whole number of classes, "
                    "0 for a teacher without a classifier"
                )
            model_kwargs["num_classes"] = num_classes
        model = _created(model_name, pretrained, model_kwargs)
        if checkpoint is not None:
            load_weights(model, checkpoint, partial(_read, use_ema=use_ema))
        data = model.pretrained_cfg
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
            input_size=_input_size(model, model_kwargs.get("img_size")),
        )


def _created(model_name: str, pretrained: bool, model_kwargs: dict[str, Any]) -> nn.Module:
    import timm

    named = ":" not in model_name  # "hf-hub:…" names a hub
    if pretrained and named and not timm.models.is_model_pretrained(model_name):
        raise ValueError(
            f"teacher.pretrained=True: timm has no weights of {model_name!r}; give "
            "teacher.checkpoint=FILE, or another teacher.model_name"
        )
    retries = logging.getLogger("huggingface_hub.utils._http")
    tell = _TellsOnce(
        f"teacher.pretrained=True: fetching timm's weights of {model_name!r} fails, and is tried "
        "again for a minute; without a network, give teacher.checkpoint=FILE"
    )
    retries.addFilter(tell)
    try:
        return timm.create_model(model_name, pretrained=pretrained, **model_kwargs)
    except OSError as error:  # URLError and the hub's errors are OSErrors
        if not pretrained:
            raise
        # Alone: its traceback and its own causes are hundreds of lines of retries.
        error.__cause__ = error.__context__ = None
        raise ValueError(
            f"teacher.pretrained=True: timm's weights of {model_name!r} could not be fetched; "
            "give teacher.checkpoint=FILE, a file of them, or a machine with a network"
        ) from error.with_traceback(None)
    finally:
        retries.removeFilter(tell)


class _TellsOnce:
    """A filter of log records that lets one line of ours take the place of all that come."""

    def __init__(self, line: str) -> None:
        self._line: str | None = line

    def filter(self, record: logging.LogRecord) -> bool:
        line, self._line = self._line, None
        record.msg, record.args = line, ()
        return line is not None


def _read(checkpoint: str, use_ema: bool) -> dict[str, Tensor]:
    """The weights of a file: averaged ones where there are some and they are wanted."""
    from timm.models import load_state_dict

    raw, averaged = (load_state_dict(checkpoint, use_ema=ema) for ema in (False, True))
    if raw.keys() == averaged.keys() and all(raw[key].equal(averaged[key]) for key in raw):
        return raw
    words = (
        "EMA weights are taken; teacher.use_ema=False takes the raw ones"
        if use_ema
        else "raw weights are taken; teacher.use_ema=True takes its EMA"
    )
    _logger.info("teacher.checkpoint=%r: %s", checkpoint, words)
    return averaged if use_ema else raw


def _input_size(model: nn.Module, img_size: int | Sequence[int] | None) -> tuple[int, int]:
    """(H, W) that a model was built for."""
    size = img_size if img_size is not None else model.pretrained_cfg["input_size"][-2:]
    return (size, size) if isinstance(size, int) else tuple(size)
