"""The file formats of an exported student: one function each, in the table `FORMATS`."""

from __future__ import annotations

import json
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
from torch import Tensor

from aal_plugin.files import write_whole, written_whole
from aal_plugin.mm.configs.types import type_name
from aal_plugin.mm.evaluation.trained_weights import load_strictly
from aal_plugin.mm.models.normalisation import images_normalisation

from .images import check_same_logits
from .plain import import_own_parts
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


def to_mmpretrain(student: Student, out: Path) -> Exported:
    """Weights by MMPretrain's names, and the config beside them with the ending .py."""
    model, config = _without_own_backbone(student)
    path = out.with_suffix(".py")
    notes = import_own_parts(config)
    load = f"import mmpretrain; model = mmpretrain.get_model({str(path)!r}, {str(out)!r})"
    if out.suffix == ".safetensors":
        write_whole(out, _file(model.state_dict(), out))
        load = (
            f"import mmpretrain, safetensors.torch; model = mmpretrain.get_model({str(path)!r}); "
            f"model.load_state_dict(safetensors.torch.load_file({str(out)!r}))"
        )
    else:
        write_whole(out, _file(dict(state_dict=model.state_dict(), meta=student.meta), out))
    write_whole(path, config.pretty_text)
    return Exported([out, path], notes, load)


def to_timm(student: Student, out: Path) -> Exported:
    """A checkpoint for `timm.create_model(checkpoint_path=...)`."""
    name, arguments, model = timm_student(
        student.model, student.config.model.backbone, student.images
    )
    write_whole(out, _file(model.state_dict(), out))
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
    save_for_hf(model, out, model_config=settings, safe_serialization=True)
    files = [out / "config.json", out / "model.safetensors"]
    load = f"import timm; model = timm.create_model('local-dir:{out}', pretrained=True)"
    return Exported(files, ["upload the folder to the Hugging Face Hub, or load it here"], load)


def to_onnx(student: Student, out: Path) -> Exported:
    """An ONNX model: normalised images (B, 3, H, W) → logits (B, K), or those of each task."""
    missing = [name for name in ("onnx", "onnxscript") if find_spec(name) is None]
    if missing:
        raise ImportError(f"format 'onnx' needs {', '.join(missing)}: pip install onnx onnxscript")
    from torch.utils._pytree import tree_flatten_with_path  # of torch 2.2

    size = "×".join(map(str, student.images.shape[1:]))
    notes = [f"input: images B×{size}, normalised by the mean and std in the file's metadata"]
    with torch.no_grad():
        tasks: Any = tree_flatten_with_path(student.model(student.images))[0]
    settings = preprocessing(student)
    if student.classes:
        settings["classes"] = student.classes
    with written_whole(out) as part, warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of the exporter and of its libraries
        program: Any = torch.onnx.export(
            student.model,
            (student.images,),
            dynamo=True,
            input_names=["images"],
            output_names=[".".join(key.key for key in path) or "logits" for path, _ in tasks],
            dynamic_shapes=({0: torch.export.Dim.AUTO},),
            verbose=False,
        )
        metadata = {key: json.dumps(value) for key, value in settings.items()}
        program.model.metadata_props.update(metadata)
        program.save(part, external_data=False)
        if find_spec("onnxruntime") is None:
            notes.append("its logits were not compared with the student's: no onnxruntime")
        else:
            check_same_logits(student.model, _onnx_runtime(part), student.images, "the ONNX model")
    load = f"import onnxruntime; session = onnxruntime.InferenceSession({str(out)!r})"
    return Exported([out], notes, load)


# How a format is written, and the endings of its file; none for a folder.
FORMATS: dict[str, tuple[Callable[[Student, Path], Exported], tuple[str, ...]]] = {
    "mmpretrain": (to_mmpretrain, (".pth", ".pt")),
    "timm": (to_timm, (".pth", ".pt", ".safetensors")),
    "hub": (to_hub, ()),
    "safetensors": (to_mmpretrain, (".safetensors",)),
    "onnx": (to_onnx, (".onnx",)),
}


def check_name(format: str, out: str) -> None:
    """Raise ValueError for a format that does not exist, or that writes another kind of file."""
    if format not in FORMATS:
        raise ValueError(f"--format={format!r}; choose one of {list(FORMATS)}")
    path, (_, endings) = Path(out), FORMATS[format]
    fitting = [name for name, (_, others) in FORMATS.items() if path.suffix in others]
    if path.suffix in endings or not (endings or fitting or path.is_file()):
        return
    allowed = f"a file that ends with {' or '.join(endings)}" if endings else "a folder"
    choice = f", or choose --format {' or '.join(fitting)}" if fitting else ""
    raise ValueError(f"{out}: --format {format} writes {allowed}; change the name{choice}")


def preprocessing(student: Student) -> dict[str, Any]:
    """The `pretrained_cfg` keys of timm: mean and std of pixels in [0, 1], sizes and the crop.

    The crop follows from `ResizeEdge` and `CenterCrop` of the test pipeline; without them the
    whole image is resized.
    """
    channels, *_ = input_size = student.images.shape[1:]
    own = images_normalisation(student.config, student.model.data_preprocessor, "test_dataloader")
    mean, std = (values * (channels // len(values)) for values in (own.mean, own.std))
    settings: dict[str, Any] = dict(
        mean=[round(value / 255, 6) for value in mean],
        std=[round(value / 255, 6) for value in std],
        input_size=tuple(input_size),
        tag="aal",  # not the tag and license of timm's weights
        license=None,
        crop_pct=1.0,
    )
    loader = student.config.get("test_dataloader") or {}
    steps = {type_name(step): step for step in (loader.get("dataset") or {}).get("pipeline", [])}
    if "ResizeEdge" in steps and "CenterCrop" in steps:
        crop = steps["CenterCrop"]["crop_size"]
        crop = crop if isinstance(crop, int) else crop[0]
        settings["crop_pct"] = round(crop / steps["ResizeEdge"]["scale"], 4)
        settings["interpolation"] = steps["ResizeEdge"].get("interpolation", "bilinear")
    return settings


def _without_own_backbone(student: Student) -> tuple[Any, Config]:
    """Model and config, with MMPretrain's TimmClassifier in place of our TIMMPooledBackbone."""
    config = Config(student.config.to_dict())
    if type_name(config.model.backbone) != "TIMMPooledBackbone":
        return student.model, config
    name, arguments, timms = timm_student(student.model, config.model.backbone, student.images)
    pixels = config.model.get("data_preprocessor") or config.get("data_preprocessor")
    config.model = dict(type="TimmClassifier", model_name=name, **arguments)
    if pixels:
        config.model.data_preprocessor = pixels
    plain = load_strictly(MODELS.build(config.model), timms.state_dict(), "student")
    check_same_logits(student.model, plain, student.images, "TimmClassifier")
    return plain, config


def _onnx_runtime(path: Path) -> Callable[[Tensor], list[Tensor]]:
    import onnxruntime

    session = onnxruntime.InferenceSession(path.read_bytes(), providers=["CPUExecutionProvider"])
    return lambda images: list(map(torch.from_numpy, session.run(None, {"images": images.numpy()})))


def _file(content: dict[str, Any], out: Path) -> bytes:
    """The bytes of a file: torch's own errors do not say that a disk is full."""
    if out.suffix == ".safetensors":  # of copies: it does not accept shared memory
        copies = {key: value.detach().clone().contiguous() for key, value in content.items()}
        return safetensors.torch.save(copies)
    buffer = BytesIO()
    torch.save(content, buffer)
    return buffer.getvalue()
