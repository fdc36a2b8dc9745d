"""`MMTeacher`: a teacher from MMPretrain."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

from mmengine.config import Config
from mmpretrain import get_model
from mmpretrain.apis import list_models
from mmpretrain.apis.model import ModelHub
from mmpretrain.registry import MODELS

from aal_plugin.core import FrozenTeacher
from aal_plugin.core.student.families import image_size_of
from aal_plugin.core.teacher.weights import check_weights, load_weights
from aal_plugin.process import searched_in

from .normalisation import images_normalisation
from .teacher_weights import load_published, read_weights


@MODELS.register_module()
class MMTeacher(FrozenTeacher):
    """A teacher that is an MMPretrain classifier, by config and checkpoint.

    It re-normalises images to the mean, std and channel order of its own config.

    Args:
        config: a config file, a config, or a name from MMPretrain's model zoo, such as
            'resnet34_8xb32_in1k'.
        checkpoint: a file of weights; True: the weights that the zoo publishes for the name, or
            those of the config's `load_from`.
        layers: dotted names within the classifier, such as 'backbone.layer1'; by default the
            stages or blocks of its backbone, see `FrozenTeacher`.
        allow_random_weights: for trials, see `aal_plugin.core.TimmTeacher`.
        **options: see `aal_plugin.core.FrozenTeacher`: image_size, image_channels, channels_last,
            fold_norms, dtype, compile.

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
        **options: Any,
    ) -> None:
        check_weights(False, str(checkpoint) if checkpoint else None, allow_random_weights)
        if isinstance(config, str) and not Path(config).is_file() and not list_models(config):
            raise FileNotFoundError(
                f"teacher.config={config!r} is neither a file{searched_in(config)} nor a name from "
                "MMPretrain's model zoo"
            )
        classifier: Any = get_model(_without_own_weights(config))
        name = config if isinstance(config, str) else type(classifier.backbone).__name__
        if checkpoint is True:
            load_published(classifier, _published(config), name)
        elif checkpoint:
            load_weights(
                classifier, checkpoint, read_weights, "in teacher.config, model.head.num_classes"
            )
        pixels = classifier.data_preprocessor
        own = images_normalisation(classifier._config, pixels)
        super().__init__(
            classifier,
            layers,
            features=partial(classifier.extract_feat, stage="backbone"),
            mean=own.mean,
            std=own.std,
            rgb=pixels.to_rgb or bool(own.rgb),
            name=name,
            input_size=image_size_of(classifier.backbone) or (224, 224),
            copy_model=False,
            **options,
        )
        self.to_rgb: bool = pixels.to_rgb  # as its preprocessor was configured


def _published(config: str | Config) -> str | None:
    """Where the weights of a zoo's name are, or those that a config starts from."""
    if isinstance(config, str) and not Path(config).is_file():
        weights = ModelHub.get(config).weights
    else:
        weights = (Config.fromfile(config) if isinstance(config, str) else config).get("load_from")
    return None if weights is None else str(weights)


def _without_own_weights(config: str | Config) -> str | Config:
    """The config, without the weights that its backbone would download when it is built."""
    if isinstance(config, str):
        if not Path(config).is_file():
            return config
        config = Config.fromfile(config)
    if config.model.backbone.get("pretrained"):
        config = Config(config.to_dict())
        config.model.backbone.pretrained = False
    return config
