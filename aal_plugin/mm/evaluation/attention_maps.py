"""The attention maps of a trained student, and the activation maps of its teacher, per image."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import torch
from mmengine.config import Config
from mmengine.dataset import Compose
from mmengine.registry import init_default_scope
from mmpretrain.models import BaseClassifier
from mmpretrain.registry import DATASETS, MODELS
from torch import Tensor

from aal_plugin.analysis.attention import Shown
from aal_plugin.analysis.saved_links import saved_weights
from aal_plugin.core import AttentionRecorder
from aal_plugin.core.losses.links import map_grid
from aal_plugin.core.losses.resize import resize_maps
from aal_plugin.mm.configs.reading import read_config
from aal_plugin.mm.configs.types import type_name
from aal_plugin.mm.evaluation.trained_weights import load_strictly
from aal_plugin.mm.models.heads.attention_link_head import AttentionLinkHead
from aal_plugin.mm.runs.as_data import load_as_data
from aal_plugin.process import searched_in

IMAGES = (".jpg", ".jpeg", ".png", ".bmp", ".webp", ".tif", ".tiff")


class AttentionReader:
    """Reads attention from the checkpoint of an AALClassifier or an ImageClassifier.

    Args:
        config: the config that `checkpoint` was trained with, or its file.
        ema: use the averaged weights of EMAHook, not the raw ones.

    Raises:
        FileNotFoundError: the checkpoint or config does not exist.
        ValueError: the checkpoint does not fit the config, or AAL does not know how to read the
            student's attention.
    """

    def __init__(self, config: str | Config, checkpoint: str, ema: bool = False) -> None:
        saved = load_as_data(checkpoint)
        self.config = read_config(config) if isinstance(config, str) else config
        init_default_scope(self.config.get("default_scope", "mmpretrain"))
        model = dict(self.config.model)
        if "data_preprocessor" not in model and "data_preprocessor" in self.config:
            model["data_preprocessor"] = dict(
                dict(type="ClsDataPreprocessor"), **self.config.data_preprocessor
            )
        self.model: BaseClassifier = load_strictly(
            MODELS.build(model), saved_weights(saved, ema, checkpoint), checkpoint
        )
        self._classes = (saved.get("meta", {}).get("dataset_meta") or {}).get("classes")
        self.recorder = getattr(self.model, "attention_recorder", None) or AttentionRecorder(
            self.model.backbone
        )

    def dataset(self, count: int) -> Iterator[Shown]:
        """The first images of the config's validation set."""
        settings = dict(self.config.val_dataloader.dataset)
        steps = [dict(step) for step in settings.get("pipeline", [])]
        if steps and type_name(steps[-1]) == "PackInputs":
            steps[-1]["algorithm_keys"] = ["gt_bboxes"]
        dataset = DATASETS.build(dict(settings, pipeline=steps))
        for index in range(min(count, len(dataset))):
            info = dataset.get_data_info(index)
            name = Path(info["img_path"]).stem if "img_path" in info else f"val-{index}"
            yield self._read(name, dataset[index])

    def files(self, paths: Sequence[Path]) -> Iterator[Shown]:
        """Image files after the validation pipeline, resized if the student needs a fixed size."""
        steps = [dict(step) for step in self.config.val_dataloader.dataset.pipeline]
        if type_name(steps[0]) != "LoadImageFromFile":
            steps.insert(0, dict(type="LoadImageFromFile"))
        for path in paths:
            packed = Compose(steps)(dict(img_path=str(path)))
            size = self.recorder.image_size
            if size is not None and tuple(packed["inputs"].shape[-2:]) != tuple(size):
                resize = dict(type="Resize", scale=(size[1], size[0]))
                packed = Compose([steps[0], resize, *steps[1:]])(dict(img_path=str(path)))
            yield self._read(path.stem, packed)

    @torch.no_grad()
    def _read(self, name: str, packed: dict) -> Shown:
        sample = packed["data_samples"]
        batch = dict(inputs=packed["inputs"][None], data_samples=[sample])
        images = self.model.data_preprocessor(batch)["inputs"]
        self.recorder.start(images.shape[-2:])
        self.model(images, [sample], mode="predict")
        maps = self.recorder.stop()
        augmented = activations = None
        head = getattr(self.model, "link_head", None)
        if isinstance(head, AttentionLinkHead):
            size = head.recording.map_size or map_grid(maps)
            augmented = [a[0] for a in head.links([resize_maps(block, size) for block in maps])]
            activations = [level[0] for level in self.model.teacher(images)[0]]
        pixels = packed["inputs"].numpy()
        if self.model.data_preprocessor.to_rgb:  # mmcv loads BGR
            pixels = pixels[::-1]
        box = np.asarray(sample.gt_bboxes).reshape(-1, 4)[0] if "gt_bboxes" in sample else None
        image = np.ascontiguousarray(pixels.transpose(1, 2, 0))
        prediction = self._class_name(sample.pred_label)
        if "pred_score" in sample:
            prediction += f" ({float(sample.pred_score.max()):.0%})"
        title = f"{name}: predicted {prediction}"
        if "gt_label" in sample:
            title += f", label {self._class_name(sample.gt_label)}"
        own = [block[0] for block in maps]
        return Shown(name, title, prediction, image, box, own, augmented, activations)

    def _class_name(self, label: Tensor) -> str:
        return self._classes[int(label)] if self._classes else f"class {int(label)}"


def image_files(given: Sequence[str]) -> list[Path]:
    """The given image files and the images in the given folders, in order.

    Raises:
        FileNotFoundError: a file or folder does not exist, or a folder has no images.
    """
    found: list[Path] = []
    for path in map(Path, given):
        if path.is_dir():
            inside = sorted(p for p in path.rglob("*") if p.suffix.lower() in IMAGES)
            if not inside:
                raise FileNotFoundError(f"folder {str(path)!r} has no image ({', '.join(IMAGES)})")
            found += inside
        elif path.is_file():
            found.append(path)
        else:
            raise FileNotFoundError(
                f"image {str(path)!r}: no such file or folder{searched_in(path)}"
            )
    return found
