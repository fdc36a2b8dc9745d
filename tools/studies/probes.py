"""What one would try without a ViT: a linear probe of the teacher, and nearest neighbours.

# N images, D features
"""

from __future__ import annotations

import copy
import time
from collections.abc import Iterator
from typing import Any

import numpy as np
import torch
from mmengine.config import Config
from mmengine.dataset import pseudo_collate
from mmpretrain.registry import DATASETS, MODELS
from torch import nn
from torch.utils.data import DataLoader
from tqdm import tqdm

from .records import TOP1

Split = tuple[np.ndarray, np.ndarray]  # features (N, D), labels (N,)

_STRENGTHS = np.logspace(-4, 1, 6)  # of the regression, C of scikit-learn
_features: dict[tuple[str, str], Split] = {}  # a probe of another seed needs the same test images


def probed(cfg: Config, kind: str) -> dict[str, Any]:
    """Fit a classifier to the training images of a config, without transforms and without a ViT.

    Args:
        cfg: of an AALClassifier; its teacher, its training, validation and test images are used.
        kind: 'linear probe', logistic regression on what the teacher's own classifier receives; its
            strength is chosen on the validation images. 'nearest feature' and 'nearest image', the
            label of the training image that is nearest in these features, or in pixels.

    Returns:
        test and top1 (validation), in %; seconds, of the processor.
    """
    started = time.process_time()
    model = MODELS.build(cfg.model).eval()
    train, val, test = (
        _split(model, _images(cfg, split), kind, repr((cfg.model.teacher, cfg.data_preprocessor)))
        for split in ("train", "val", "test")
    )
    accuracies = _accuracies_of(train, val, test, linear=kind == "linear probe")
    seconds = time.process_time() - started
    return dict(top1=accuracies[0], test={TOP1: accuracies[1]}, seconds=seconds)


def _accuracies_of(train: Split, val: Split, test: Split, linear: bool) -> tuple[float, float]:
    from sklearn.linear_model import LogisticRegression
    from sklearn.neighbors import KNeighborsClassifier
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    models: list[Any] = [KNeighborsClassifier(1)]
    if linear:
        models = [
            make_pipeline(StandardScaler(), LogisticRegression(C=strength, max_iter=3000))
            for strength in _STRENGTHS
        ]
    fitted = [model.fit(*train) for model in models]
    best = max(fitted, key=lambda model: model.score(*val))
    return 100 * best.score(*val), 100 * best.score(*test)


def _images(cfg: Config, split: str) -> dict:
    """The config of a split's data set, shown without random transforms."""
    dataset = copy.deepcopy(cfg[f"{split}_dataloader"].dataset)
    if dataset.type == "RepeatedViews":
        dataset = dataset.dataset
    inner = dataset
    while "dataset" in inner:
        inner = inner.dataset
    inner.pipeline = copy.deepcopy(cfg.test_dataloader.dataset.pipeline)
    return dataset


def _split(model: Any, images: dict, kind: str, teacher: str) -> Split:
    key = (repr(images), "pixels" if kind == "nearest image" else teacher)
    if key not in _features:
        read = _pixels if kind == "nearest image" else _penultimate
        rows = [(read(model, batch), labels) for batch, labels in _batches(model, images)]
        features, labels = (np.concatenate(side) for side in zip(*rows))
        _features[key] = features.astype(np.float32), labels
    return _features[key]


def _batches(model: Any, images: dict) -> Iterator[tuple[torch.Tensor, np.ndarray]]:
    loader = DataLoader(DATASETS.build(images), batch_size=100, collate_fn=pseudo_collate)
    for batch in tqdm(loader, desc="features", leave=False):
        ready = model.data_preprocessor(batch)
        yield ready["inputs"], np.array([int(s.gt_label) for s in ready["data_samples"]])


def _pixels(model: Any, batch: torch.Tensor) -> np.ndarray:
    return batch.flatten(1).numpy()


def _penultimate(model: Any, batch: torch.Tensor) -> np.ndarray:
    """What the teacher's classifier receives, (N, D)."""
    received: list[torch.Tensor] = []
    # The last linear layer: timm's and MMPretrain's CNNs classify by it.
    linear = [m for m in model.teacher.model.modules() if isinstance(m, nn.Linear)][-1]
    hook = linear.register_forward_pre_hook(lambda _, inputs: received.append(inputs[0]))
    try:
        model.teacher(batch, with_logits=True)
    finally:
        hook.remove()
    return received[0].flatten(1).numpy()
