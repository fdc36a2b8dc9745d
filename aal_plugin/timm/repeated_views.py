"""`RepeatedViews` for timm's loader: a few fixed views of each image, whose maps can be kept."""

from __future__ import annotations

import functools
from argparse import Namespace
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset, IterableDataset

from aal_plugin.core.random_draws import draws_restored, seed_draws
from aal_plugin.core.settings import check_whole
from aal_plugin.core.teacher.views import images_sum, view_number, words_of

from .options import errors_in_options

# Options of train.py under which the same view of an image would not show the same pixels.
_NOT_WITH_VIEWS = dict(
    mixup="mixes images after their maps were kept",
    cutmix="mixes images after their maps were kept",
    cutmix_minmax="mixes images after their maps were kept",
    aug_splits="shows an image several times a step",
    aug_repeats="shows an image several times an epoch, each time the same view",
    train_img_sizes="shows an image in several sizes",
    use_multi_epochs_loader="loads images before their epoch begins",
)
_LABELS = 2**20  # more than any data set has classes


class RepeatedViews(Dataset):
    """Shows K views of each image: the random transforms of view k of an image are always the same.

    Epoch e shows view (e + an offset of the image's own) mod K. A target tells the view beside the
    label, because timm's loader passes nothing else on: see `label_and_view`.

    Args:
        dataset: the data set; `transform`, which timm's `create_loader` sets, is passed on to it.
        views: K.
        seed: another seed gives other views.

    Raises:
        ValueError: the data set streams its images.

    Example:
        >>> data = RepeatedViews([("image a", 3), ("image b", 5)], views=4)
        >>> targets = torch.tensor([data[index][1] for index in range(2)])
        >>> labels, views = label_and_view(targets)
        >>> labels.tolist(), [view // 4 for view in views]
        ([3, 5], [0, 1])
    """

    def __init__(self, dataset: Any, views: int, seed: int = 0) -> None:
        if isinstance(dataset, IterableDataset):
            raise ValueError(
                f"{type(dataset).__name__} streams its images, so their views cannot come again; "
                "choose another --dataset, or drop --aal-views and --aal-kept-maps"
            )
        if hasattr(dataset, "_max_retries"):  # timm shows the next image instead of a broken one
            dataset._max_retries = 1
        self.dataset, self.views, self.seed = dataset, views, seed
        self._epoch = torch.zeros((), dtype=torch.int64).share_memory_()  # workers outlive an epoch

    @property
    def transform(self) -> Any:
        return self.dataset.transform

    @transform.setter
    def transform(self, transform: Any) -> None:
        self.dataset.transform = transform

    def set_epoch(self, epoch: int) -> None:
        """Choose the views of the next pass; before the loader starts it."""
        self._epoch.fill_(epoch)

    def __len__(self) -> int:
        return len(self.dataset)

    def __getitem__(self, index: int) -> tuple:
        number = view_number(index, int(self._epoch), self.views, self.seed)
        with draws_restored():
            seed_draws(self.seed, index, number % self.views)
            try:
                image, label = self.dataset[index]
            except Exception as error:
                name = dict(enumerate(_files(self.dataset))).get(index, f"number {index}")
                raise ValueError(f"image {name} failed to load: {error}") from error
        if isinstance(label, (Tensor, np.ndarray)) or not 0 <= label < _LABELS:
            raise ValueError(f"--aal-views needs one label of each image, and got {label!r}")
        return image, number * _LABELS + int(label)

    def shown(self) -> dict[str, Any]:
        """What the views depend on: maps of other images or transforms are never read."""
        arrays = map(np.asarray, getattr(self.dataset, "data", ()))
        images: list[Any] = _files(self.dataset) or list(arrays)
        if not images:
            raise ValueError(
                f"--aal-kept-maps: a {type(self.dataset).__name__} does not tell which images it "
                "has, so maps of others could be read; drop it"
            )
        mode = getattr(self.dataset, "input_img_mode", None)
        transform = f"{mode} {words_of(self.transform)}"
        return dict(images=images_sum(images), transform=transform, seed=self.seed)


def label_and_view(targets: Tensor) -> tuple[Tensor, list[int]]:
    """Targets (B,) of `RepeatedViews` → labels (B,), and the number of each image's view."""
    return targets % _LABELS, (targets // _LABELS).tolist()


def with_views(create_loader: Callable | None, args: Namespace) -> Callable:
    """Timm's `create_loader`, whose training images are `RepeatedViews`."""
    if create_loader is None:
        raise ValueError("--aal-views needs a train.py that imports create_loader from timm.data")

    @functools.wraps(create_loader)
    def run(dataset: Any, *given: Any, is_training: bool = False, **options: Any) -> Any:
        if is_training:
            with errors_in_options():
                dataset = RepeatedViews(dataset, args.aal_views, args.aal_views_seed)
        return create_loader(dataset, *given, is_training=is_training, **options)

    return run


def check_views(args: Namespace) -> None:
    """Set the number of views if only the folder is given.

    Raises:
        ValueError: names an option under which a view would not show the same pixels.
    """
    option = "--aal-views" if args.aal_kept_maps is None else "--aal-kept-maps"
    for name, why in _NOT_WITH_VIEWS.items():
        if getattr(args, name, None):
            name = name.replace("_", "-")
            raise ValueError(f"--{name} does not go with {option}: it {why}; drop it")
    if getattr(args, "reprob", 0) and not getattr(args, "no_prefetcher", True):
        raise ValueError(
            f"--reprob does not go with {option}: timm's prefetcher erases after the view was "
            "made; add --no-prefetcher, which erases in the view itself"
        )
    if args.aal_views is None:
        args.aal_views = 16
    check_whole("views", args.aal_views, 1)
    check_whole("views_seed", args.aal_views_seed, 0)


def _files(dataset: Any) -> list[str]:
    """The images' files: of timm's data sets, or of torchvision's with folders."""
    if hasattr(dataset, "filenames"):
        root = str(dataset.reader.root)  # a folder, or a tar file, whose own size is all there is
        tar = [root] if Path(root).is_file() else []
        return [*map(str, dataset.filenames(absolute=True)), *tar]
    return [str(sample[0]) for sample in getattr(dataset, "samples", ())]
