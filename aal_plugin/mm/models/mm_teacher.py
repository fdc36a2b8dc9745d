"""`MMTeacher`: a teacher from MMPretrain."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from pathlib import Path

from mmengine.config import Config
from mmengine.runner import CheckpointLoader
from mmpretrain import get_model
from mmpretrain.apis import list_models
from mmpretrain.registry import MODELS
from torch import Tensor, nn

from aal_plugin.core import FrozenTeacher
from aal_plugin.core.student.families import image_size_of
from aal_plugin.core.teacher.weights import check_weights, load_weights
from aal_plugin.mm.configs.types import parts_of, type_name

_READ_AS_RGB = ("CIFAR10", "CIFAR100")


@MODELS.register_module()
class MMTeacher(FrozenTeacher):
    """A teacher that is an MMPretrain classifier, by config and checkpoint.

    It re-normalises images to the mean, std and channel order of its own config.

    Args:
        config: a config file, a config, or a name of MMPretrain's model zoo.
        checkpoint: a file of weights; for a name of the zoo, True fetches the zoo's.
        layers: dotted names within the classifier, such as 'backbone.layer1'; by default the
            stages of its backbone.
        allow_random_weights: see `aal_plugin.core.TimmTeacher`.
        channels_last, fold_norms, dtype, compile: see `aal_plugin.core.FrozenTeacher`.

    Raises:
        FileNotFoundError: no such config or checkpoint.
        ValueError: no weights, or weights that do not fit.
    """

    def __init__(
        self,
        config: str | Config,
        checkpoint: str | bool | None = None,
        layers: Sequence[str] | None = None,
        allow_random_weights: bool = False,
        channels_last: bool = True,
        fold_norms: bool = True,
        dtype: str | None = None,
        compile: bool = False,
    ) -> None:
        check_weights(False, checkpoint or None, allow_random_weights)
        if isinstance(config, str) and not Path(config).is_file() and not list_models(config):
            raise FileNotFoundError(
                f"teacher.config={config!r} is neither a file nor a name of MMPretrain's model zoo"
            )
        fetch = checkpoint is True
        classifier = _fetched(config) if fetch else get_model(without_own_weights(config))
        if checkpoint and not fetch:
            load_weights(classifier, checkpoint, _read, "in teacher.config, model.head.num_classes")
        pixels = classifier.data_preprocessor
        normalised = hasattr(pixels, "mean")
        super().__init__(
            classifier,
            layers,
            features=partial(classifier.extract_feat, stage="backbone"),
            mean=pixels.mean.flatten().tolist() if normalised else (0.0, 0.0, 0.0),
            std=pixels.std.flatten().tolist() if normalised else (1.0, 1.0, 1.0),
            rgb=pixels.to_rgb or reads_rgb(config),
            channels_last=channels_last,
            fold_norms=fold_norms,
            dtype=dtype,
            compile=compile,
            name=config if isinstance(config, str) else type(classifier.backbone).__name__,
            input_size=image_size_of(classifier.backbone) or (224, 224),
        )
        self.to_rgb: bool = pixels.to_rgb  # what its preprocessor was told


def _fetched(config: str | Config) -> nn.Module:
    """A model of MMPretrain's zoo with its weights."""
    try:
        return get_model(config, pretrained=True)
    except OSError as error:  # URLError and what is below it
        error.__cause__ = error.__context__ = None
        raise ValueError(
            f"teacher.checkpoint=True: MMPretrain's weights of {config!r} could not be fetched; "
            "give teacher.checkpoint=FILE, a file of them, or a machine with a network"
        ) from error.with_traceback(None)


def reads_rgb(config: str | Config) -> bool:
    """Whether a config's training images are RGB as they are read, not BGR as mmcv's files."""
    if isinstance(config, str):
        if not Path(config).is_file():
            return False
        config = Config.fromfile(config)
    loader = config.get("train_dataloader") or {}
    return any(type_name(part) in _READ_AS_RGB for _, part in parts_of(loader))


def without_own_weights(config: str | Config) -> str | Config:
    """The config of a file, whose backbone does not fetch the weights that it started from."""
    if isinstance(config, str):
        if not Path(config).is_file():
            return config
        config = Config.fromfile(config)
    config = Config(config.to_dict())
    backbone = config.model.backbone
    if backbone.get("pretrained"):
        backbone.pretrained = False
    start = backbone.get("init_cfg")
    if isinstance(start, dict) and start.get("type") == "Pretrained":
        backbone.init_cfg = None
    return config


def _read(checkpoint: str) -> dict[str, Tensor]:
    saved = CheckpointLoader.load_checkpoint(checkpoint, map_location="cpu")
    return saved.get("state_dict", saved)
