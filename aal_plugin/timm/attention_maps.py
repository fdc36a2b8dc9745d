"""The attention maps of a student that timm's train.py trained, and its teacher's maps."""

from __future__ import annotations

from argparse import Namespace
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
import yaml
from PIL import Image
from timm.data import create_dataset, create_transform, resolve_data_config
from timm.models import create_model
from torch import Tensor

from aal_plugin.analysis.attention import Shown
from aal_plugin.analysis.saved_links import load_as_data
from aal_plugin.core import AttentionRecorder
from aal_plugin.core.losses.links import map_grid
from aal_plugin.core.losses.resize import resize_maps

from .attention_link_task import AttentionLinkTask
from .launched_task import build_teacher, task_settings
from .linked_student import one_per_channel


class TimmAttentionReader:
    """Reads attention from an output folder of timm's train.py, with AAL or without.

    Args:
        options: the run's args.yaml.
        checkpoint: a checkpoint of the run.

    Raises:
        FileNotFoundError: a file, the data or the teacher's weights do not exist.
        ValueError: the checkpoint does not fit the options, or AAL cannot read the student.
    """

    def __init__(self, options: str | Path, checkpoint: str | Path) -> None:
        self.args = args = Namespace(**yaml.safe_load(Path(options).read_text(encoding="utf-8")))
        saved = load_as_data(str(checkpoint))
        model = create_model(
            args.model,
            in_chans=getattr(args, "in_chans", None) or 3,
            num_classes=args.num_classes,
            **({"img_size": args.img_size} if getattr(args, "img_size", None) else {}),
            **(getattr(args, "model_kwargs", None) or {}),
        )
        try:
            model.load_state_dict(saved["state_dict"])
        except (KeyError, RuntimeError) as error:
            raise ValueError(f"{checkpoint} does not fit {options}: {error}") from error
        self.model = model.eval()
        self.data = resolve_data_config(vars(args), model=model)
        for key in ("mean", "std"):
            self.data[key] = one_per_channel(self.data[key], model)
        linked = getattr(args, "aal_teacher", None) and args.aal_links != "none"
        self.task: AttentionLinkTask | None = None
        if linked:
            settings = dict(task_settings(args), mean=self.data["mean"], std=self.data["std"])
            self.task = AttentionLinkTask(model, build_teacher(args), verbose=False, **settings)
            self.task.load_task_state(saved.get("task_state"))
        self.recorder: AttentionRecorder = (
            AttentionRecorder(model) if self.task is None else self.task.trainable_module.recorder
        )

    def dataset(self, count: int) -> Iterator[Shown]:
        """The first images of the run's validation set."""
        args = self.args
        transform = create_transform(**self.data, is_training=False)
        dataset: Any = create_dataset(
            getattr(args, "dataset", None) or "",
            root=args.data_dir or getattr(args, "data", None),
            split=args.val_split,
            is_training=False,
            class_map=getattr(args, "class_map", None) or "",
        )
        reader = getattr(dataset, "reader", None)
        named = getattr(reader or dataset, "class_to_idx", None) or {}
        names = {index: name for name, index in named.items()}
        mode = getattr(args, "input_img_mode", None)
        mode = mode or ("RGB" if len(self.data["mean"]) == 3 else "L")  # as train.py has it
        for index in range(min(count, len(dataset))):
            if reader is None:  # a data set of torchvision
                picture, label = dataset[index]
                name = f"{args.val_split}-{index}"
            else:  # timm's own leaves each file open
                file, label = reader[index]
                with file, Image.open(file) as opened:
                    picture = opened.convert(mode)
                name = Path(reader.filename(index)).stem
            yield self._read(name, transform(picture), int(label), names)

    @torch.no_grad()
    def _read(self, name: str, image: Tensor, label: int, names: dict[int, str]) -> Shown:
        height, width = image.shape[-2:]
        self.recorder.start((height, width))
        scores = self.model(image[None])[0].softmax(dim=-1)
        maps = self.recorder.stop()
        augmented = activations = None
        if self.task is not None:
            loss = self.task.trainable_module.link_loss
            size = loss.map_size or map_grid(maps)
            grids = [resize_maps(block, size) for block in maps]
            augmented = [level[0] for level in loss.links(grids)]
            activations = [level[0] for level in self.task.teacher(image[None])[0]]
        best = int(scores.argmax())
        prediction = f"{names.get(best, f'class {best}')} ({float(scores[best]):.0%})"
        title = f"{name}: predicted {prediction}, label {names.get(label, f'class {label}')}"
        own = [block[0] for block in maps]
        mean, std = (torch.tensor(self.data[key]).view(-1, 1, 1) for key in ("mean", "std"))
        pixels = (255 * (image * std + mean)).round().clamp(0, 255).to(torch.uint8)
        # Grey, or the first channels.
        pixels = pixels[:3] if len(pixels) >= 3 else pixels[:1].expand(3, -1, -1)
        picture = pixels.permute(1, 2, 0).contiguous().numpy()
        return Shown(name, title, prediction, picture, None, own, augmented, activations)
