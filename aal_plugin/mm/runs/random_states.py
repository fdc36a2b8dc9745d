"""The random states of a training: saved, restored, and a separate one for every image."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from functools import partial
from typing import Any

import numpy as np
import torch
from torch.utils.data import BatchSampler, DataLoader, get_worker_info

from aal_plugin.core.random_draws import draws_restored, seed_draws

Place = tuple[int, tuple[int, ...]]  # an image's index, and the numbers that seed its transforms


def random_state() -> dict[str, Any]:
    """The random states of Python, NumPy, torch and this rank's GPU."""
    state: dict[str, Any] = dict(
        python=random.getstate(), numpy=np.random.get_state(), torch=torch.get_rng_state()
    )
    if torch.cuda.is_available():
        state["cuda"] = torch.cuda.get_rng_state()
    return state


def set_random_state(state: dict[str, Any]) -> None:
    """Restore the random states that `random_state` returned."""
    random.setstate(state["python"])
    np.random.set_state(state["numpy"])
    torch.set_rng_state(state["torch"].cpu())
    if "cuda" in state and torch.cuda.is_available():
        torch.cuda.set_rng_state(state["cuda"].cpu())


class PlacedSampler:
    """A sampler that adds (seed, rank, epoch, place) to each index and can skip the first ones."""

    def __init__(self, sampler: Any, numbers: Callable[[], tuple[int, ...]]) -> None:
        self.sampler = sampler
        self.numbers = numbers  # seed, rank and epoch of the next pass
        self.left_out = 0  # the next pass skips this many indices: trained on before the resume

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
    """Seed the random transforms of each image separately.

    The transforms are then the same for any number of workers, and in a resumed run. Without
    workers, the random states of the model do not change.

    Returns:
        False, without a change, if the loader's batches do not come from torch's `BatchSampler`.
    """
    batches: Any = loader.batch_sampler
    dataset: Any = loader.dataset
    if type(loader.batch_sampler) is not BatchSampler or hasattr(dataset, "__getitems__"):
        return False
    if hasattr(dataset, "placed_item"):  # RepeatedViews
        dataset.repeats = getattr(batches.sampler, "num_repeats", 1)
    batches.sampler = PlacedSampler(batches.sampler, numbers)
    dataset.__getitems__ = partial(_items, dataset)  # torch's fetcher calls it if it exists
    return True


def _items(dataset: Any, places: Sequence[Place]) -> list[Any]:
    item = getattr(dataset, "placed_item", partial(seeded_item, dataset))
    with states_restored():
        return [item(*place) for place in places]


def seeded_item(dataset: Any, index: int, numbers: tuple[int, ...]) -> Any:
    """`dataset[index]` with random transforms that `numbers` seed; see `states_restored`."""
    seed_draws(*numbers)
    return named_item(dataset, index)


class FailedImage(ValueError):
    """An image that fails to load; the error names its file."""


def named_item(dataset: Any, index: int) -> Any:
    """`dataset[index]`.

    Raises:
        FailedImage: the image fails to load; names its file, or its index if it has no file.
    """
    try:
        return dataset[index]
    except FailedImage:  # of a data set inside this one, which has named it
        raise
    except Exception as error:
        name = f"image number {index} of {type(dataset).__name__}"
        with suppress(Exception):
            name = f"image {dataset.get_data_info(index)['img_path']}"
        raise FailedImage(f"{name} failed to load: {type(error).__name__}: {error}") from error


@contextmanager
def states_restored(always: bool = False) -> Iterator[None]:
    """Leave the random states as they were; in a loader's worker only if `always`."""
    if get_worker_info() is not None and not always:
        yield
        return
    with draws_restored():
        yield
