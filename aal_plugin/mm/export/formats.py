"""The file formats of an exported student: one function each, in the table `FORMATS`."""

from __future__ import annotations

import tempfile
import warnings
from collections.abc import Callable
from importlib.util import find_spec
from io import BytesIO
from pathlib import Path
from typing import Any, NamedTuple

import safetensors.torch
import torch
from mmengine.config import Config
from mmpretrain.models import ImageClassifier
from mmpretrain.registry import MODELS
from timm.models._hub import save_for_hf  # in timm.models too, of later releases
from torch import Tensor, nn

from aal_plugin.files import write_whole, written_whole
from aal_plugin.mm.configs.types import type_name
from aal_plugin.mm.evaluation.trained_weights import load_strictly

from .plain import import_own_parts
from .preprocessing import metadata, preprocessing
from .same_logits import check_same_logits, noise_for
from .timm_student import timm_student


class Student(NamedTuple):
    """What a format receives.

    Attributes:
        model: the plain ImageClassifier in eval mode.
        config: its config, see `plain_config`.
        meta: the class names of the data set and the epoch, if the checkpoint has them.
    """

    model: ImageClassifier
    config: Config
    meta: dict[str, Any]


class Exported(NamedTuple):
    """The files of an export, and notes on how to load them."""

    files: list[Path]
    notes: list[str]


def to_mmpretrain(student: Student, out: Path) -> Exported:
    """A checkpoint of MMPretrain, and its config beside it with the ending .py."""
    student = _without_own_backbone(student)
    weights = dict(state_dict=student.model.state_dict(), meta=student.meta)
    write_whole(out, _saved(weights))
    config, notes = _write_config(student, out)
    load = f"mmpretrain.get_model({str(config)!r}, pretrained={str(out)!r})"
    return Exported([out, config], [*notes, f"load it with {load}"])


def to_safetensors(student: Student, out: Path) -> Exported:
    """The weights of the MMPretrain model as safetensors, and its config beside it."""
    student = _without_own_backbone(student)
    write_whole(out, _safetensors(student.model.state_dict()))
    config, notes = _write_config(student, out)
    return Exported([out, config], [*notes, "the weights have the names of the config's model"])


def to_timm(student: Student, out: Path) -> Exported:
    """A checkpoint for `timm.create_model(checkpoint_path=...)`; .pth or .safetensors."""
    name, arguments, model = timm_student(student.model, student.config.model.backbone)
    save = _safetensors if out.suffix == ".safetensors" else _saved
    write_whole(out, save(model.state_dict()))
    options = "".join(f", {key}={value!r}" for key, value in arguments.items())
    load = f"timm.create_model({name!r}{options}, checkpoint_path={str(out)!r})"
    return Exported([out], [f"load it with {load}"])


def to_hub(student: Student, out: Path) -> Exported:
    """A folder for the Hugging Face Hub, which timm loads as 'local-dir:FOLDER'."""
    _, arguments, model = timm_student(student.model, student.config.model.backbone)
    settings: dict[str, Any] = dict(pretrained_cfg=preprocessing(student.config, student.model))
    settings["model_args"] = {k: v for k, v in arguments.items() if k != "num_classes"}
    classes = (student.meta.get("dataset_meta") or {}).get("classes")
    if classes:
        settings["label_names"] = list(classes)
    out.mkdir(parents=True, exist_ok=True)
    files = []
    with tempfile.TemporaryDirectory() as folder:
        save_for_hf(model, folder, model_config=settings, safe_serialization=True)
        for file in sorted(Path(folder).iterdir()):
            write_whole(out / file.name, file.read_bytes())
            files.append(out / file.name)
    load = f"timm.create_model('local-dir:{out}', pretrained=True)"
    return Exported(files, [f"load it with {load}, or upload the folder to the Hugging Face Hub"])


def to_onnx(student: Student, out: Path) -> Exported:
    """An ONNX model: normalised images (B, 3, H, W) → logits (B, K), or those of each task."""
    missing = [name for name in ("onnx", "onnxscript") if find_spec(name) is None]
    if missing:
        raise ImportError(f"format 'onnx' needs {', '.join(missing)}: pip install onnx onnxscript")
    notes = ["input: images (B, 3, H, W), normalised by the mean and std in the file's metadata"]
    with written_whole(out) as part, warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of the exporter and of its libraries
        program: Any = torch.onnx.export(
            student.model,
            (noise_for(student.model),),
            dynamo=True,
            input_names=["images"],
            output_names=_outputs(student.model.head),
            dynamic_shapes=({0: torch.export.Dim.AUTO},),
            verbose=False,
        )
        classes = (student.meta.get("dataset_meta") or {}).get("classes")
        program.model.metadata_props.update(metadata(student.config, student.model, classes))
        program.save(part, external_data=False)
        if find_spec("onnxruntime") is None:
            notes.append("its logits were not compared with the student's: no onnxruntime")
        else:
            check_same_logits(student.model, _onnx_runtime(part), "the ONNX model")
    return Exported([out], notes)


FORMATS: dict[str, Callable[[Student, Path], Exported]] = {
    "mmpretrain": to_mmpretrain,
    "timm": to_timm,
    "hub": to_hub,
    "safetensors": to_safetensors,
    "onnx": to_onnx,
}


def _without_own_backbone(student: Student) -> Student:
    """The student with MMPretrain's TimmClassifier in place of our TIMMPooledBackbone."""
    settings = student.config.model
    if type_name(settings.backbone) != "TIMMPooledBackbone":
        return student
    name, arguments, timms = timm_student(student.model, settings.backbone)
    model = dict(type="TimmClassifier", model_name=name, **arguments)
    if settings.get("data_preprocessor"):
        model["data_preprocessor"] = settings.data_preprocessor
    config = Config(dict(student.config, model=model))
    built = dict(model)
    if config.get("data_preprocessor"):
        built.setdefault("data_preprocessor", config.data_preprocessor)
    plain = load_strictly(MODELS.build(built), timms.state_dict(), "student")
    check_same_logits(student.model, plain, "TimmClassifier")
    return Student(plain, config, student.meta)


def _outputs(head: nn.Module, name: str = "") -> list[str]:
    """'logits', or the names of the tasks of a MultiTaskHead."""
    tasks = getattr(head, "task_heads", {}).items()
    names = [each for task, part in tasks for each in _outputs(part, f"{name}.{task}".strip("."))]
    return names or [name or "logits"]


def _onnx_runtime(path: Path) -> Callable[[Tensor], list[Tensor]]:
    import onnxruntime

    session = onnxruntime.InferenceSession(path.read_bytes(), providers=["CPUExecutionProvider"])
    return lambda images: list(map(torch.from_numpy, session.run(None, {"images": images.numpy()})))


def _write_config(student: Student, out: Path) -> tuple[Path, list[str]]:
    config, path = Config(student.config.to_dict()), out.with_suffix(".py")
    notes = import_own_parts(config)
    write_whole(path, config.pretty_text)
    return path, notes


def _saved(content: Any) -> bytes:
    """What torch.save writes. Its own errors do not say that a disk is full."""
    buffer = BytesIO()
    torch.save(content, buffer)
    return buffer.getvalue()


def _safetensors(weights: dict[str, Tensor]) -> bytes:
    """Of copies, because safetensors does not accept shared memory."""
    return safetensors.torch.save({k: v.detach().clone().contiguous() for k, v in weights.items()})
