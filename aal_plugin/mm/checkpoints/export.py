"""An AAL checkpoint as one of a plain ImageClassifier."""

from __future__ import annotations

from io import BytesIO
from pathlib import Path

import torch
from mmengine.config import Config
from mmengine.registry import init_default_scope
from mmpretrain.registry import MODELS
from torch import Tensor, nn

from aal_plugin.core.student.families import image_size_of
from aal_plugin.mm.configs.reading import read_config
from aal_plugin.mm.configs.types import type_name
from aal_plugin.mm.models.heads.teacher_head import HEADS
from aal_plugin.mm.models.mm_teacher import without_own_weights
from aal_plugin.whole_files import write_whole

from .reading import load_strictly, read_checkpoint, saved_weights

# What an AALClassifier has beside an ImageClassifier, in its config and its state dict.
OWN_KEYS = ("teacher", "attention_layers", "student_layers", "images_rgb", *HEADS)
OWN_HOOKS = ("LambdaDecayHook", "TeacherAccuracyHook", "LinkHeatmapHook", "KeptEMAHook")


def export_student(config: str | Config, checkpoint: str, out: str, ema: bool = False) -> Path:
    """Write `out`, a checkpoint that a plain ImageClassifier loads strictly, and its config.

    Args:
        config: the config that `checkpoint` was trained with.
        out: the file to write; the plain config goes beside it, with the ending .py.
        ema: take the averaged weights of EMAHook, not the raw ones.

    Returns:
        The path of the plain config.

    Raises:
        FileNotFoundError: no such checkpoint.
        ValueError: an unreadable checkpoint, one that does not fit the config or holds no
            averaged weights, or logits that differ from the AAL model's.
    """
    saved = read_checkpoint(checkpoint)
    config = read_config(config) if isinstance(config, str) else config
    if type_name(config.model) != "AALClassifier":
        raise ValueError(
            f"model.type={config.model.get('type')!r}; only an AALClassifier is exported"
        )
    init_default_scope(config.get("default_scope", "mmpretrain"))
    state_dict = saved_weights(saved, ema, checkpoint)

    plain = plain_config(config)
    student = student_of(config, state_dict, checkpoint)
    trained = load_strictly(MODELS.build(_with_random_teacher(config)), state_dict, checkpoint)
    _check_same_logits(student, trained)

    meta = {k: v for k, v in saved.get("meta", {}).items() if k in ("dataset_meta", "epoch")}
    out_path, config_path = Path(out), Path(out).with_suffix(".py")
    out_path.parent.mkdir(parents=True, exist_ok=True)
    content = BytesIO()  # torch.save's own errors do not tell a full disk
    torch.save(dict(state_dict=student.state_dict(), meta=meta), content)
    write_whole(out_path, content.getvalue())
    write_whole(config_path, plain.pretty_text)
    return config_path


def student_of(config: Config, state_dict: dict[str, Tensor], name: str) -> nn.Module:
    """The plain ImageClassifier of a config, in eval mode, with a checkpoint's weights.

    Args:
        config: of an AALClassifier, or of a plain one.
        state_dict: the checkpoint's; what belongs to AALClassifier alone is passed over.
        name: the checkpoint's, for the error.

    Raises:
        ValueError: the weights do not fit the config.
    """
    model = dict(without_own_weights(plain_config(config)).model)
    if config.get("data_preprocessor"):
        model.setdefault("data_preprocessor", config.data_preprocessor)
    return load_strictly(MODELS.build(model), _without_heads(state_dict), name)


def plain_config(config: Config) -> Config:
    """The config with an ImageClassifier in place of the AALClassifier, and no AAL hook."""
    plain = Config(config.to_dict())
    for key in OWN_KEYS:
        plain.model.pop(key, None)
    if type_name(plain.model) == "AALClassifier":
        plain.model.type = "ImageClassifier"
    hooks = plain.get("custom_hooks") or []
    plain.custom_hooks = [hook for hook in hooks if type_name(hook) not in OWN_HOOKS]
    for name, hook in list(plain.get("default_hooks", {}).items()):
        if type_name(hook) in OWN_HOOKS:
            del plain.default_hooks[name]
    return plain


def _with_random_teacher(config: Config) -> dict:
    """The model's config, for which no weights of the teacher need be at hand."""
    teacher = config.model.get("teacher")
    if teacher is None:
        return config.model
    teacher = dict(teacher, checkpoint=None, allow_random_weights=True)
    if "pretrained" in teacher:
        teacher["pretrained"] = False
    return dict(config.model, teacher=teacher)


def _without_heads(state_dict: dict[str, Tensor]) -> dict[str, Tensor]:
    own = tuple(f"{name}." for name in HEADS)
    return {key: value for key, value in state_dict.items() if not key.startswith(own)}


@torch.no_grad()
def _check_same_logits(student: nn.Module, trained: nn.Module) -> None:
    size = image_size_of(trained.backbone) or (224, 224)
    images = torch.randn(2, 3, *size, generator=torch.Generator().manual_seed(0))
    if not torch.equal(student(images), trained(images)):
        raise ValueError("the exported student's logits differ from the AAL model's")
