"""The student of an AAL checkpoint as a plain ImageClassifier, and its config without ours."""

from __future__ import annotations

from typing import Any

import torch
from mmengine.config import Config
from mmpretrain.models import ImageClassifier
from mmpretrain.models.peft.lora import LoRALinear
from mmpretrain.registry import MODELS
from torch import Tensor

from aal_plugin.mm.configs.check import ours
from aal_plugin.mm.configs.registered import with_names
from aal_plugin.mm.configs.types import PRETRAINED, parts_of, type_name
from aal_plugin.mm.evaluation.trained_weights import load_strictly
from aal_plugin.mm.models.heads.teacher_head import HEADS

# The keys of an AALClassifier that an ImageClassifier does not have.
OWN_KEYS = ("teacher", "images_rgb", "images_mean", "images_std", *HEADS)
# Where weights come from before training. The exported weights replace them, and need no download.
_STARTS = ("init_cfg", "pretrained", "checkpoint_path")
_TRAINING = ("train_cfg", "batch_augments")  # Mixup and the like
# Our parts that equal one of MMPretrain's if the data have no boxes.
_PLAIN = {"CUBWithBoxes": "CUB", "ResizeEdgeWithBoxes": "ResizeEdge"}


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
    if adapted:  # a checkpoint has only what LoRA adds
        settings["backbone"] = with_names(config.model.backbone)
        _check_base(settings["backbone"]["module"])
    heads = tuple(f"{head}." for head in HEADS)
    weights = {key: value for key, value in state_dict.items() if not key.startswith(heads)}
    model = load_strictly(MODELS.build(settings), weights, name)
    if adapted:
        model.backbone = _merged(model.backbone.module)
    return model


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

    A data set that only this package provides is reduced to its pipeline, which is all that
    MMPretrain's inferencer needs.

    Returns:
        `test_dataloader` and, if MMPretrain can run the test, `test_evaluator` and `test_cfg`; and
        a note for each transform that is left out.
    """
    source = "test" if config.get("test_dataloader") else "val"
    if not config.get(f"{source}_dataloader"):
        return {}, []
    loader = with_names(config[f"{source}_dataloader"])
    notes: list[str] = []
    dataset = inner = loader["dataset"]
    own = _is_own(inner)
    while "dataset" in inner:
        inner = inner["dataset"]
        own = own or _is_own(inner)
    if own:
        # MMPretrain's get_model reads the type, and its inferencer the pipeline.
        dataset = dict(type="CustomDataset", pipeline=inner.get("pipeline", []))
    data: dict[str, Any] = dict(test_dataloader=dict(loader, dataset=_plain_data(dataset, notes)))
    evaluator = with_names(config.get(f"{source}_evaluator") or [])
    metrics = [evaluator] if isinstance(evaluator, dict) else list(evaluator)
    metrics = [metric for metric in metrics if type_name(metric) not in ours()]
    if metrics and not own:
        data.update(test_evaluator=metrics, test_cfg={})
    return data, notes


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


def _plain_data(part: Any, notes: list[str]) -> Any:
    """A data set or transform with MMPretrain's types only, at any depth."""
    if isinstance(part, (list, tuple)):
        notes += [
            f"only aal_plugin provides the transform {type_name(each)}, so the exported test "
            "pipeline does not have it; apply it to the images yourself"
            for each in part
            if _is_own(each)
        ]
        return type(part)(_plain_data(each, notes) for each in part if not _is_own(each))
    if not isinstance(part, dict):
        return part
    name = type_name(part)
    unknown = ("allow_outside", *(("algorithm_keys",) if name == "PackInputs" else ()))
    plain = {k: _plain_data(v, notes) for k, v in part.items() if k not in unknown}
    return dict(plain, type=_PLAIN[name]) if name in _PLAIN else plain


def _is_own(part: Any) -> bool:
    return type_name(part) in ours() and type_name(part) not in _PLAIN


def _check_base(module: dict[str, Any]) -> None:
    start = module.get("init_cfg") or []
    parts = [start] if isinstance(start, dict) else start
    if not (module.get("pretrained") or any(type_name(part) in PRETRAINED for part in parts)):
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
