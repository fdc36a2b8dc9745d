"""Exports the student of an AAL checkpoint: to MMPretrain, timm, safetensors or ONNX."""

from __future__ import annotations

from pathlib import Path

from mmengine.config import Config
from mmengine.registry import init_default_scope

from aal_plugin.analysis.saved_links import saved_weights
from aal_plugin.files import check_not_input
from aal_plugin.mm.configs.reading import read_config
from aal_plugin.mm.configs.types import type_name
from aal_plugin.mm.runs.as_data import load_as_data

from .formats import FORMATS, Exported, Student, check_name
from .images import Size, check_same_logits, noise_for
from .plain import plain_config, student_of, trained_model

__all__ = ["FORMATS", "Exported", "export_student", "student_of"]


def export_student(
    config: str | Config,
    checkpoint: str,
    out: str,
    ema: bool = False,
    format: str = "mmpretrain",
    image_size: Size | None = None,
) -> Exported:
    """Write the student of an AAL checkpoint, without anything of AAL or of training.

    The student's logits on noise are compared with the AAL model's and with the exported model's.

    Args:
        config: the config that `checkpoint` was trained with, or its file.
        checkpoint: a checkpoint of an AALClassifier.
        out: the file to write, or the folder for 'hub'.
        ema: export the averaged weights of EMAHook, not the raw ones.
        format: 'mmpretrain', 'timm', 'hub', 'safetensors' or 'onnx'.
        image_size: of the student's images, a side or (H, W); by default what the backbone was
            built for, else what the test pipeline makes of every image, else 224.

    Returns:
        The files, notes on them, and the line of Python that loads them.

    Raises:
        FileNotFoundError: the checkpoint or config does not exist.
        ValueError: the checkpoint cannot be read, does not fit the config or has no averaged
            weights; the format cannot express the student, or writes files with another ending;
            the student does not take images of this size; or logits differ.
        ImportError: the format needs a package that is not installed.
    """
    check_name(format, out)
    check_not_input(out, checkpoint, *([config] if isinstance(config, str) else []))
    saved = load_as_data(checkpoint)
    cfg = read_config(config) if isinstance(config, str) else config
    if type_name(cfg.model) != "AALClassifier":
        raise ValueError(
            f"model.type={type_name(cfg.model)!r}; only an AALClassifier can be exported"
        )
    init_default_scope(cfg.get("default_scope", "mmpretrain"))
    state_dict = saved_weights(saved, ema, checkpoint)
    model = student_of(cfg, state_dict, checkpoint)
    images = noise_for(model, cfg, image_size)
    trained = trained_model(cfg, state_dict, checkpoint)
    check_same_logits(model, trained, images, "the AAL model", tolerance=0.0)
    plain, notes = plain_config(cfg)
    meta = {k: v for k, v in saved.get("meta", {}).items() if k in ("dataset_meta", "epoch")}
    Path(out).parent.mkdir(parents=True, exist_ok=True)
    write, _ = FORMATS[format]
    exported = write(Student(model, plain, images, meta), Path(out))
    return exported._replace(notes=notes + exported.notes)
