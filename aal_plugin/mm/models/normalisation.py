"""How a config normalises images, in its pipelines and in its data preprocessor."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

from mmengine.config import Config
from torch import nn

from aal_plugin.mm.configs.types import parts_of, type_name

READ_AS_RGB = ("CIFAR10", "CIFAR100")


class Normalisation(NamedTuple):
    """What is done to pixels of 0 to 255: (pixel − mean) / std, one number or one per channel.

    rgb: whether the result is RGB (else BGR); None: nothing says so.
    """

    mean: list[float]
    std: list[float]
    rgb: bool | None

    @property
    def does_nothing(self) -> bool:
        """Whether pixels keep their values."""
        return set(self.mean) == {0.0} and set(self.std) == {1.0}

    def then(self, mean: Sequence[float], std: Sequence[float]) -> Normalisation:
        """A further (x − mean) / std."""
        count = max(len(self.mean), len(mean))
        rows = [list(v) * (count // len(v)) for v in (self.mean, self.std, mean, std)]
        return Normalisation(
            [float(m + s * further) for m, s, further, _ in zip(*rows)],
            [float(s * further) for _, s, _, further in zip(*rows)],
            self.rgb,
        )

    def flipped(self, to_rgb: bool) -> Normalisation:
        """Channels in reverse order; if the order is unknown, it is then the intended one."""
        rgb = to_rgb if self.rgb is None else not self.rgb
        return Normalisation(self.mean[::-1], self.std[::-1], rgb)


def images_normalisation(
    cfg: Config, pixels: nn.Module, loader: str = "train_dataloader"
) -> Normalisation:
    """How the images of a config's loader are normalised when they reach the model.

    Args:
        pixels: the model's data preprocessor.
        loader: the key of the data loader whose pipeline is read; a missing one changes nothing.

    Raises:
        ValueError: the loader's data sets normalise differently.
    """
    found = _of_loader(cfg, loader)
    if getattr(pixels, "to_rgb", False):
        found = found.flipped(to_rgb=True)
    if hasattr(pixels, "mean"):
        found = found.then(*(getattr(pixels, name).flatten().tolist() for name in ("mean", "std")))
    return found


def match_images(model: Any, cfg: Config) -> None:
    """Tell an AALClassifier how the training pipeline of its runner's config normalises images.

    `model.images_mean` of the config goes before. Call it before the first step.
    """
    if not hasattr(model, "match_images") or not cfg.get("train_dataloader"):
        return
    for _, part in parts_of(cfg.train_dataloader.get("dataset")):
        if part.get("kept_maps"):
            model.expect_kept_maps(part["kept_maps"])
    if not _of_loader(cfg, "train_dataloader").does_nothing:
        model.match_images(*images_normalisation(cfg, model.data_preprocessor))


def _of_loader(cfg: Config, loader: str) -> Normalisation:
    found = [_of_pipeline(steps, rgb) for steps, rgb in _pipelines(cfg, loader)]
    if len({_rounded(one) for one in found}) > 1:
        raise ValueError(
            f"{loader}: its data sets normalise images differently ("
            + "; ".join(f"mean={one.mean}, std={one.std}" for one in found)
            + "); give their pipelines the same Normalize"
        )
    return found[0] if found else Normalisation([0.0], [1.0], None)


def _pipelines(cfg: Config, loader: str) -> list[tuple[Sequence[dict], bool | None]]:
    """The pipelines of a loader's data sets, and whether the images begin as RGB."""
    parts = [part for _, part in parts_of((cfg.get(loader) or {}).get("dataset"))]
    return [
        (part["pipeline"], True if type_name(part) in READ_AS_RGB else None)
        for part in parts
        if part.get("pipeline")
    ]


def _of_pipeline(steps: Sequence[dict], rgb: bool | None) -> Normalisation:
    found = Normalisation([0.0], [1.0], rgb)
    for step in steps:
        name = type_name(step)
        if name == "LoadImageFromFile":
            found = Normalisation([0.0], [1.0], False)
        elif name in ("NumpyToPIL", "ToPIL") and step.get("to_rgb"):
            found = found.flipped(to_rgb=True)
        elif name in ("PILToNumpy", "ToNumpy") and step.get("to_bgr"):
            found = found.flipped(to_rgb=False)
        elif name in ("torchvision/ToTensor", "torchvision/ConvertImageDtype"):
            # Values of 8 bits become 0 to 1; others stay.
            found = found.then([0.0], [255.0]) if found.does_nothing else found
        elif name == "torchvision/Normalize":
            found = found.then(step["mean"], step["std"])
        elif name == "Normalize":  # mmcv's
            found = found.flipped(to_rgb=True) if step.get("to_rgb", True) else found
            found = found.then(step["mean"], step["std"])
    return found


def _rounded(one: Normalisation) -> str:
    """For a comparison: one number for all channels equals it three times."""
    values = [v if len(set(v)) > 1 else v[:1] for v in (one.mean, one.std)]
    return str([[round(number, 3) for number in numbers] for numbers in values])
