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
from timm.models import save_for_hf
from torch import Tensor, nn

from aal_plugin.files import write_whole, written_whole
from aal_plugin.mm.configs.types import type_name
from aal_plugin.mm.evaluation.trained_weights import load_strictly

from .images import check_same_logits
from .plain import import_own_parts
from .preprocessing import metadata, preprocessing
from .timm_student import timm_student


class Student(NamedTuple):
    """What a format receives.

    Attributes:
        model: the plain ImageClassifier in eval mode.
        config: its config, see `plain_config`.
        images: two normalised images of noise.
        meta: the class names of the data set and the epoch, if the checkpoint has them.
    """

    model: ImageClassifier
    config: Config
    images: Tensor
    meta: dict[str, Any]

    @property
    def classes(self) -> list[str] | None:
        return list((self.meta.get("dataset_meta") or {}).get("classes") or ()) or None


class Exported(NamedTuple):
    """The files of an export, notes on them, and the line of Python that loads them."""

    files: list[Path]
    notes: list[str]
    load: str


class Format(NamedTuple):
    """How a format is written, and the endings of its file; none for a folder."""

    write: Callable[[Student, Path], Exported]
    endings: tuple[str, ...]


def to_mmpretrain(student: Student, out: Path) -> Exported:
    """A checkpoint of MMPretrain, and its config beside it with the ending .py."""
    student = _without_own_backbone(student)
    write_whole(out, _saved(dict(state_dict=student.model.state_dict(), meta=student.meta)))
    config, notes = _write_config(student, out)
    load = f"import mmpretrain; model = mmpretrain.get_model({str(config)!r}, {str(out)!r})"
    return Exported([out, config], notes, load)


def to_safetensors(student: Student, out: Path) -> Exported:
    """The weights of the MMPretrain model as safetensors, and its config beside it."""
    student = _without_own_backbone(student)
    write_whole(out, _safetensors(student.model.state_dict()))
    config, notes = _write_config(student, out)
    load = (
        f"import mmpretrain, safetensors.torch; model = mmpretrain.get_model({str(config)!r}); "
        f"model.load_state_dict(safetensors.torch.load_file({str(out)!r}))"
    )
    return Exported([out, config], notes, load)


def to_timm(student: Student, out: Path) -> Exported:
    """A checkpoint for `timm.create_model(checkpoint_path=...)`; .pth or .safetensors."""
    name, arguments, model = timm_student(
        student.model, student.config.model.backbone, student.images
    )
    save = _safetensors if out.suffix == ".safetensors" else _saved
    write_whole(out, save(model.state_dict()))
    options = "".join(f", {key}={value!r}" for key, value in arguments.items())
    call = f"timm.create_model({name!r}{options}, checkpoint_path={str(out)!r})"
    return Exported([out], [], f"import timm; model = {call}")


def to_hub(student: Student, out: Path) -> Exported:
    """A folder for the Hugging Face Hub, which timm loads as 'local-dir:FOLDER'."""
    _, arguments, model = timm_student(student.model, student.config.model.backbone, student.images)
    settings: dict[str, Any] = dict(pretrained_cfg=preprocessing(student))
    settings["model_args"] = {k: v for k, v in arguments.items() if k != "num_classes"}
    if student.classes:
        settings["label_names"] = student.classes
    out.mkdir(parents=True, exist_ok=True)
    files = []
    with tempfile.TemporaryDirectory() as folder:
        save_for_hf(model, folder, model_config=settings, safe_serialization=True)
        for file in sorted(Path(folder).iterdir()):
            write_whole(out / file.name, file.read_bytes())
            files.append(out / file.name)
    load = f"import timm; model = timm.create_model('local-dir:{out}', pretrained=True)"
    return Exported(files, ["upload the folder to the Hugging Face Hub, or load it here"], load)


def to_onnx(student: Student, out: Path) -> Exported:
    """An ONNX model: normalised images (B, 3, H, W) → logits (B, K), or those of each task."""
    missing = [name for name in ("onnx", "onnxscript") if find_spec(name) is None]
    if missing:
        raise ImportError(f"format 'onnx' needs {', '.join(missing)}: pip install onnx onnxscript")
    size = "×".join(map(str, student.images.shape[1:]))
    notes = [f"input: images B×{size}, normalised by the mean and std in the file's metadata"]
    with written_whole(out) as part, warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of the exporter and of its libraries
        program: Any = torch.onnx.export(
            student.model,
            (student.images,),
            dynamo=True,
            input_names=["images"],
            output_names=_outputs(student.model.head),
            dynamic_shapes=({0: torch.export.Dim.AUTO},),
            verbose=False,
        )
        program.model.metadata_props.update(metadata(student))
        program.save(part, external_data=False)
        if find_spec("onnxruntime") is None:
            notes.append("its logits were not compared with the student's: no onnxruntime")
        else:
            run = _onnx_runtime(part)
            check_same_logits(student.model, run, student.images, "the ONNX model")
    load = f"import onnxruntime; session = onnxruntime.InferenceSession({str(out)!r})"
    return Exported([out], notes, load)


FORMATS = {
    "mmpretrain": Format(to_mmpretrain, (".pth", ".pt")),
    "timm": Format(to_timm, (".pth", ".pt", ".safetensors")),
    "hub": Format(to_hub, ()),
    "safetensors": Format(to_safetensors, (".safetensors",)),
    "onnx": Format(to_onnx, (".onnx",)),
}


def check_name(format: str, out: str) -> None:
    """Raise ValueError for a format that does not exist, or that writes another kind of file."""
    if format not in FORMATS:
        raise ValueError(f"--format={format!r}; choose one of {list(FORMATS)}")
    endings, path = FORMATS[format].endings, Path(out)
    fitting = [name for name, other in FORMATS.items() if path.suffix in other.endings]
    if path.suffix in endings or not (endings or fitting or path.is_file()):
        return
    allowed = f"a file that ends with {' or '.join(endings)}" if endings else "a folder"
    choice = f", or choose --format {' or '.join(fitting)}" if fitting else ""
    raise ValueError(f"{out}: --format {format} writes {allowed}; change the name{choice}")


def _without_own_backbone(student: Student) -> Student:
    """The student with MMPretrain's TimmClassifier in place of our TIMMPooledBackbone."""
    settings = student.config.model
    if type_name(settings.backbone) != "TIMMPooledBackbone":
        return student
    name, arguments, timms = timm_student(student.model, settings.backbone, student.images)
    model = dict(type="TimmClassifier", model_name=name, **arguments)
    if settings.get("data_preprocessor"):
        model["data_preprocessor"] = settings.data_preprocessor
    config = Config(dict(student.config, model=model))
    built = dict(model)
    if config.get("data_preprocessor"):
        built.setdefault("data_preprocessor", config.data_preprocessor)
    plain = load_strictly(MODELS.build(built), timms.state_dict(), "student")
    check_same_logits(student.model, plain, student.images, "TimmClassifier")
    return student._replace(model=plain, config=config)


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
