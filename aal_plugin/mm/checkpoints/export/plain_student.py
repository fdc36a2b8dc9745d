"""The student of an AAL checkpoint as a plain ImageClassifier, and the config of it."""

from __future__ import annotations

from typing import Any

from mmengine.config import Config
from mmpretrain.models import ImageClassifier
from mmpretrain.registry import MODELS
from torch import Tensor

from aal_plugin.mm.configs.check import ours
from aal_plugin.mm.configs.registered import with_names
from aal_plugin.mm.configs.types import parts_of, type_name
from aal_plugin.mm.evaluation.trained_weights import load_strictly
from aal_plugin.mm.models.heads.teacher_head import HEADS

from .plain_data import plain_test_data

# The keys of an AALClassifier that an ImageClassifier does not have.
OWN_KEYS = ("teacher", "images_rgb", "images_mean", "images_std", *HEADS)
# Where weights come from before training. The exported weights replace them, and need no download.
_STARTS = ("init_cfg", "pretrained", "checkpoint_path")
_TRAINING = ("train_cfg", "batch_augments")  # Mixup and the like


def student_of(config: Config, state_dict: dict[str, Tensor], name: str) -> ImageClassifier:
    """The plain ImageClassifier of a config with a checkpoint's weights, in eval mode.

    Args:
        config: the config of an AALClassifier or of an ImageClassifier.
        state_dict: the checkpoint's weights; those of teacher heads are ignored.
        name: the checkpoint's name, for the error.

    Raises:
        ValueError: the weights do not fit the config.
    """
    model = plain_model(config)
    if config.get("data_preprocessor"):
        model.setdefault("data_preprocessor", with_names(config.data_preprocessor))
    heads = tuple(f"{head}." for head in HEADS)
    weights = {key: value for key, value in state_dict.items() if not key.startswith(heads)}
    return load_strictly(MODELS.build(model), weights, name)


def plain_model(config: Config) -> dict[str, Any]:
    """The model settings of the student as an ImageClassifier, without anything for training."""
    model = _without(with_names(config.model), _STARTS + _TRAINING)
    for key in OWN_KEYS:
        model.pop(key, None)
    if type_name(model) == "AALClassifier":
        model["type"] = "ImageClassifier"
    return model


def plain_config(config: Config) -> tuple[Config, list[str]]:
    """The config of the student: model, data preprocessor and test data, nothing of training.

    Returns:
        The config, and a note for each transform that is left out.
    """
    data, notes = plain_test_data(config)
    plain: dict[str, Any] = dict(
        default_scope=config.get("default_scope", "mmpretrain"), model=plain_model(config)
    )
    if config.get("data_preprocessor"):
        plain["data_preprocessor"] = _without(with_names(config.data_preprocessor), _TRAINING)
    plain.update(data)
    given = (config.get("custom_imports") or {}).get("imports") or []
    imports = [given] if isinstance(given, str) else given
    imports = [name for name in imports if name.split(".")[0] != "aal_plugin"]
    if imports:
        plain["custom_imports"] = dict(imports=imports, allow_failed_imports=False)
    return Config(plain), notes


def import_own_parts(config: Config) -> list[str]:
    """Let a plain config import this package if it has parts that only this package provides.

    Returns:
        A note that names these parts; none if MMPretrain provides all.
    """
    own = sorted({type_name(part) for _, part in parts_of(config.to_dict())} & set(ours()))
    if not own:
        return []
    imports = (config.get("custom_imports") or {}).get("imports") or []
    config.custom_imports = dict(imports=[*imports, "aal_plugin.mm"], allow_failed_imports=False)
    return [f"only aal_plugin provides {', '.join(own)}, so the exported config needs aal_plugin"]


def _without(part: Any, keys: tuple[str, ...]) -> Any:
    """A copy of a config part without some keys, at any depth."""
    if isinstance(part, dict):
        return {key: _without(value, keys) for key, value in part.items() if key not in keys}
    if isinstance(part, (list, tuple)):
        return type(part)(_without(value, keys) for value in part)
    return part
