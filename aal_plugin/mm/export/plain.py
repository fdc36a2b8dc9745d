"""The student of an AAL checkpoint as a plain ImageClassifier, and its config without ours."""

from __future__ import annotations

from typing import Any

from mmengine.config import Config
from mmpretrain.models import ImageClassifier
from mmpretrain.registry import MODELS
from torch import Tensor

from aal_plugin.mm.configs.files import data_sets
from aal_plugin.mm.configs.registered import ours, with_names
from aal_plugin.mm.configs.types import parts_of, type_name
from aal_plugin.mm.evaluation.trained_weights import load_strictly
from aal_plugin.mm.models.classifier import AALClassifier
from aal_plugin.mm.models.heads.teacher_head import HEADS

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
    settings = plain_model(config)
    if config.get("data_preprocessor"):
        settings.setdefault("data_preprocessor", with_names(config.data_preprocessor))
    heads = tuple(f"{head}." for head in HEADS)
    weights = {key: value for key, value in state_dict.items() if not key.startswith(heads)}
    return load_strictly(MODELS.build(settings), weights, name)


def trained_model(config: Config, state_dict: dict[str, Tensor], name: str) -> AALClassifier:
    """The AALClassifier of a checkpoint; it downloads nothing that the checkpoint replaces."""
    settings = with_names(config.model)
    settings["backbone"] = _without(settings["backbone"], _STARTS)
    return load_strictly(MODELS.build(settings), state_dict, name)


def plain_model(config: Config) -> dict[str, Any]:
    """The model settings of the student as an ImageClassifier, without anything for training."""
    if type_name(config.model.backbone) == "LoRAModel":
        raise ValueError(
            "model.backbone is a LoRAModel: its checkpoint has only what LoRA adds, so it cannot "
            "be exported; merge LoRA into its module first"
        )
    given = {key: value for key, value in config.model.items() if key not in OWN_KEYS}
    model = _without(with_names(given), _STARTS + _TRAINING)
    if type_name(model) == "AALClassifier":
        model["type"] = "ImageClassifier"
    return model


def plain_config(config: Config) -> tuple[Config, list[str]]:
    """The config of the student: model, data preprocessor and test data, nothing of training.

    Returns:
        The config, and a note for each transform that is left out.
    """
    data, notes = plain_test_data(config)
    scope = config.get("default_scope", "mmpretrain")
    plain: dict[str, Any] = dict(default_scope=scope, model=plain_model(config), **data)
    if config.get("data_preprocessor"):
        plain["data_preprocessor"] = _without(with_names(config.data_preprocessor), _TRAINING)
    imports = (config.get("custom_imports") or {}).get("imports") or []
    imports = [imports] if isinstance(imports, str) else imports
    imports = [name for name in imports if name.split(".")[0] != "aal_plugin"]
    if imports:
        plain["custom_imports"] = dict(imports=imports, allow_failed_imports=False)
    return Config(plain), notes


def plain_test_data(config: Config) -> tuple[dict[str, Any], list[str]]:
    """The test keys of a config, or its validation keys under their names.

    With a data set that only this package provides, the pipeline alone is left: MMPretrain's
    get_model and inferencer read it.

    Returns:
        The keys, and a note for each transform that is left out.
    """
    source = "test" if config.get("test_dataloader") else "val"
    if not config.get(f"{source}_dataloader"):
        return {}, []
    loader = with_names(config[f"{source}_dataloader"])
    if any(type_name(part) in ours() for _, part in parts_of(loader)):
        (_, inner), *_ = data_sets("", loader["dataset"])
        steps = inner.get("pipeline", [])
        notes = [
            f"only aal_plugin provides the transform {type_name(step)}, so the exported test "
            "pipeline does not have it; apply it to the images yourself"
            for step in steps
            if type_name(step) in ours()
        ]
        pipeline = [step for step in steps if type_name(step) not in ours()]
        loader["dataset"] = dict(type="CustomDataset", pipeline=pipeline)
        return dict(test_dataloader=loader), notes
    evaluator = with_names(config.get(f"{source}_evaluator") or [])
    metrics = [evaluator] if isinstance(evaluator, dict) else list(evaluator)
    metrics = [metric for metric in metrics if type_name(metric) not in ours()]
    keys = dict(test_evaluator=metrics, test_cfg={}) if metrics else {}
    return dict(test_dataloader=loader, **keys), []


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
