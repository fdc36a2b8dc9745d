"""The random streams of a training: what is saved of them, and one of its own for every image."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from functools import partial
from typing import Any

import numpy as np
import torch
from torch.utils.data import BatchSampler, DataLoader, get_worker_info

Place = tuple[int, tuple[int, ...]]  # an image's index, and the numbers that seed its transforms


def random_state() -> dict[str, Any]:
    """The streams of Python, NumPy, torch and this rank's GPU, as tensors and plain numbers."""
    version, keys, gauss = random.getstate()
    kind, words, position, has_gauss, cached = np.random.get_state()
    state = dict(
        python=(version, torch.tensor(keys, dtype=torch.int64), gauss),
        numpy=(kind, torch.from_numpy(words.astype(np.int64)), position, has_gauss, cached),
        torch=torch.get_rng_state(),
    )
    if torch.cuda.is_available():
        state["cuda"] = torch.cuda.get_rng_state()
    return state


def set_random_state(state: dict[str, Any]) -> None:
    """Put the streams back to what `random_state` gave."""
    version, keys, gauss = state["python"]
    random.setstate((version, tuple(keys.tolist()), gauss))
    kind, words, *rest = state["numpy"]
    np.random.set_state((kind, words.cpu().numpy().astype(np.uint32), *rest))
    torch.set_rng_state(state["torch"].cpu())
    if "cuda" in state and torch.cuda.is_available():
        torch.cuda.set_rng_state(state["cuda"].cpu())


class PlacedSampler:
    """A sampler whose indices bear (seed, rank, epoch, place), and which can begin further on.

    Args:
        sampler: gives the indices.
        numbers: the seed, the rank and the epoch of the pass that begins.
    """

    def __init__(self, sampler: Any, numbers: Callable[[], tuple[int, ...]]) -> None:
        self.sampler = sampler
        self.numbers = numbers
        self.left_out = 0  # indices that the next pass leaves out: trained on before

    def __iter__(self) -> Iterator[Place]:
        numbers, left_out = self.numbers(), self.left_out
        for place, index in enumerate(self.sampler):
            if place >= left_out:
                yield index, (*numbers, place)

    def __len__(self) -> int:
        return len(self.sampler)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.__dict__["sampler"], name)


def seed_every_image(loader: DataLoader, numbers: Callable[[], tuple[int, ...]]) -> bool:
    """Draw each image's random transforms from a stream of its own.

    They are then the same whatever the workers, and whether or not the run was resumed. Without
    workers the streams of the model are left as they were.

    Returns:
        False where the loader's batches are not made by torch's `BatchSampler`: nothing is done.
    """
    if type(loader.batch_sampler) is not BatchSampler or hasattr(loader.dataset, "__getitems__"):
        return False
    loader.batch_sampler.sampler = PlacedSampler(loader.batch_sampler.sampler, numbers)
    loader.dataset.__getitems__ = partial(_items, loader.dataset)  # what torch's fetcher asks for
    return True


def _items(dataset: Any, places: Sequence[Place]) -> list[Any]:
    with _streams_kept():
        return [_item(dataset, *place) for place in places]


def _item(dataset: Any, index: int, numbers: tuple[int, ...]) -> Any:
    seed = int(np.random.SeedSequence(numbers).generate_state(1)[0])
    random.seed(seed)
    np.random.seed(seed)
    torch.default_generator.manual_seed(seed)
    return named_item(dataset, index)


def named_item(dataset: Any, index: int) -> Any:
    """`dataset[index]`.

    Raises:
        ValueError: it fails; names the image file, or else the index.
    """
    try:
        return dataset[index]
    except Exception as error:
        what = f"image number {index} of {type(dataset).__name__}"
        with suppress(Exception):
            what = f"image {dataset.get_data_info(index)['img_path']}"
        raise ValueError(f"{what} cannot be used: {type(error).__name__}: {error}") from error


@contextmanager
def _streams_kept() -> Iterator[None]:
    if get_worker_info() is not None:
        yield
        return
    python, numpy, state = random.getstate(), np.random.get_state(), torch.get_rng_state()
    try:
        yield
    finally:
        random.setstate(python)
        np.random.set_state(numpy)
        torch.set_rng_state(state)
