"""The student of an AAL checkpoint as a plain ImageClassifier, and its config without ours."""

from __future__ import annotations

from typing import Any

import torch
from mmengine.config import Config
from mmpretrain.models import ImageClassifier
from mmpretrain.models.peft.lora import LoRALinear
from mmpretrain.registry import MODELS
from torch import Tensor

from aal_plugin.mm.configs.files import data_sets
from aal_plugin.mm.configs.registered import ours, with_names
from aal_plugin.mm.configs.types import PRETRAINED, parts_of, type_name
from aal_plugin.mm.evaluation.trained_weights import load_strictly
from aal_plugin.mm.models.classifier import AALClassifier
from aal_plugin.mm.models.heads.teacher_head import HEADS

# The keys of an AALClassifier that an ImageClassifier does not have.
OWN_KEYS = ("teacher", "images_rgb", "images_mean", "images_std", *HEADS)
# Where weights come from before training. The exported weights replace them, and need no download.
_STARTS = ("init_cfg", "pretrained", "checkpoint_path")
_TRAINING = ("train_cfg", "batch_augments")  # Mixup and the like
# Ours, and what it equals if the data have no boxes.
_PLAIN = {"ResizeEdgeWithBoxes": "ResizeEdge"}


def student_of(config: Config, state_dict: dict[str, Tensor], name: str) -> ImageClassifier:
    """The plain ImageClassifier of a config with a checkpoint's weights, in eval mode.

    The weights of MMPretrain's LoRAModel are added to those of its module, which replaces it.

    Args:
        config: the config of an AALClassifier or of an ImageClassifier.
        state_dict: the checkpoint's weights; those of teacher heads are ignored.
        name: the checkpoint's name, for the error.

    Raises:
        ValueError: the weights do not fit the config, or are only a part of the student's.
    """
    settings = plain_model(config)
    if config.get("data_preprocessor"):
        settings.setdefault("data_preprocessor", with_names(config.data_preprocessor))
    adapted = type_name(config.model.backbone) == "LoRAModel"
    if adapted:
        settings["backbone"] = _with_base(config)
    heads = tuple(f"{head}." for head in HEADS)
    weights = {key: value for key, value in state_dict.items() if not key.startswith(heads)}
    model = load_strictly(MODELS.build(settings), weights, name)
    if adapted:
        model.backbone = _merged(model.backbone.module)
    return model


def trained_model(config: Config, state_dict: dict[str, Tensor], name: str) -> AALClassifier:
    """The AALClassifier of a checkpoint; it downloads nothing that the checkpoint replaces."""
    settings = with_names(config.model)
    if type_name(settings["backbone"]) != "LoRAModel":
        settings["backbone"] = _without(settings["backbone"], _STARTS)
    return load_strictly(MODELS.build(settings), state_dict, name)


def plain_model(config: Config) -> dict[str, Any]:
    """The model settings of the student as an ImageClassifier, without anything for training."""
    given = {key: value for key, value in config.model.items() if key not in OWN_KEYS}
    model = _without(with_names(given), _STARTS + _TRAINING)
    if type_name(model) == "AALClassifier":
        model["type"] = "ImageClassifier"
    if type_name(model["backbone"]) == "LoRAModel":
        model["backbone"] = model["backbone"]["module"]
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
    (_, inner), *_ = data_sets("", loader["dataset"])
    notes = [
        f"only aal_plugin provides the transform {type_name(step)}, so the exported test pipeline "
        "does not have it; apply it to the images yourself"
        for step in inner.get("pipeline", [])
        if _is_own(step)
    ]
    pipeline = [
        dict(step, type=_PLAIN.get(type_name(step), step["type"]))
        for step in inner.get("pipeline", [])
        if not _is_own(step)
    ]
    if any(type_name(part) in ours() for _, part in parts_of(loader)):
        plain = dict(loader, dataset=dict(type="CustomDataset", pipeline=pipeline))
        return dict(test_dataloader=plain), notes
    evaluator = with_names(config.get(f"{source}_evaluator") or [])
    metrics = [evaluator] if isinstance(evaluator, dict) else list(evaluator)
    metrics = [metric for metric in metrics if type_name(metric) not in ours()]
    keys = dict(test_evaluator=metrics, test_cfg={}) if metrics else {}
    return dict(test_dataloader=loader, **keys), notes


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


def _is_own(part: Any) -> bool:
    return type_name(part) in ours() and type_name(part) not in _PLAIN


def _with_base(config: Config) -> dict[str, Any]:
    """The backbone of a LoRAModel with the weights that it was trained on: a checkpoint lacks them.

    Raises:
        ValueError: the config does not say which.
    """
    backbone = with_names(config.model.backbone)
    start = backbone["module"].get("init_cfg") or []
    parts = [start] if isinstance(start, dict) else start
    if backbone["module"].get("pretrained") or any(type_name(part) in PRETRAINED for part in parts):
        return backbone
    raise ValueError(
        "model.backbone is a LoRAModel: its checkpoint has only what LoRA adds, and "
        "model.backbone.module has no weights in the config; set model.backbone.module."
        "init_cfg=dict(type='Pretrained', checkpoint=FILE) to those that it was trained with"
    )


@torch.no_grad()
def _merged(module: torch.nn.Module) -> torch.nn.Module:
    """A LoRAModel's module with W + s·BA in place of each layer's W and LoRA's A, B."""
    for name, layer in list(module.named_modules()):
        if isinstance(layer, LoRALinear):
            merged = layer.original_layer
            merged.weight += layer.scaling * layer.lora_up.weight @ layer.lora_down.weight
            parent, _, last = name.rpartition(".")
            setattr(module.get_submodule(parent), last, merged)
    return module


def _without(part: Any, keys: tuple[str, ...]) -> Any:
    """A copy of a config part without some keys, at any depth."""
    if isinstance(part, dict):
        return {key: _without(value, keys) for key, value in part.items() if key not in keys}
    if isinstance(part, (list, tuple)):
        return type(part)(_without(value, keys) for value in part)
    return part
