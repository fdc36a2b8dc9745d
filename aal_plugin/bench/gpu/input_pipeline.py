"""Whether the input feeds the device: images a second of a loader, of a step, and of both.

# B batch, s side in pixels
"""

from __future__ import annotations

import io
import math
import time
from collections.abc import Callable, Iterator
from typing import Any

import torch
from PIL import Image
from timm.data import create_transform
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from aal_plugin.bench import Steps
from aal_plugin.bench.timing import Step
from aal_plugin.data import draw_shapes

from .processes import Place
from .results import cores
from .scale import Scale

PICTURES = 40  # different ones; they repeat
SIDE = 400  # pixels, about an ImageNet picture's area
WARMUP = 3


def measure_input(scale: Scale, place: Place) -> dict[str, Any]:
    """Measure DeiT's input (JPEG, RandAugment, erasing), AAL's step, and the step fed by it.

    Returns:
        Images per second: `loader` for each number of workers, `step` on one batch that stays on
        the device, and `fed`, the step on the fastest loader's batches; and `workers_needed` for
        the step, from the fastest loader's speed per worker.
    """
    pictures = Pictures(scale.size)
    speeds = {}
    for workers in scale.workers or sorted({max(1, cores() // 2), cores()}):
        speeds[workers] = loader_speed(_loader(pictures, workers, scale), scale.fed_batches)
        print(f"{workers} workers: {speeds[workers]:.0f} images a second", flush=True)
    fastest = max(speeds, key=speeds.__getitem__)
    made = Steps(scale.setting())
    step = made.aal()
    wait: Callable[[], object] = (
        torch.cuda.synchronize if scale.device.startswith("cuda") else lambda: None
    )
    alone = step_speed(step, scale, wait)
    print(f"step: {alone:.0f} images a second", flush=True)

    def fed_step(images: Tensor, labels: Tensor) -> None:
        made.images = images.to(scale.device, non_blocking=True)
        made.targets = labels.to(scale.device, non_blocking=True)
        step()

    loader = _loader(pictures, fastest, scale)
    fed = loader_speed(loader, scale.fed_batches, fed_step, wait)
    print(f"step on the loader's batches: {fed:.0f} images a second", flush=True)
    return dict(
        loader={str(workers): speed for workers, speed in speeds.items()},
        step=alone,
        fed=fed,
        workers_needed=math.ceil(alone / (speeds[fastest] / max(1, fastest))),
    )


class Pictures(Dataset):
    """JPEG files in memory, decoded and augmented as DeiT does; they repeat without an end."""

    def __init__(self, size: int) -> None:
        shapes = draw_shapes(PICTURES, SIDE, seed=1)
        self.encoded = [_jpeg(image) for image in shapes.images]
        self.labels = shapes.labels.tolist()
        self.transform: Any = create_transform(
            size,
            is_training=True,
            auto_augment="rand-m9-mstd0.5-inc1",
            re_prob=0.25,
            re_mode="pixel",
            interpolation="bicubic",
        )

    def __len__(self) -> int:
        return 10**9

    def __getitem__(self, index: int) -> tuple[Tensor, int]:
        place = index % PICTURES
        with Image.open(io.BytesIO(self.encoded[place])) as picture:
            return self.transform(picture.convert("RGB")), self.labels[place]


def _jpeg(image: Any) -> bytes:
    file = io.BytesIO()
    Image.fromarray(image).save(file, "jpeg", quality=90)
    return file.getvalue()


def _loader(pictures: Pictures, workers: int, scale: Scale) -> Iterator[list[Tensor]]:
    pinned = scale.device.startswith("cuda")
    return iter(DataLoader(pictures, scale.batch, num_workers=workers, pin_memory=pinned))


def loader_speed(
    batches: Iterator[list[Tensor]],
    count: int,
    use: Callable[[Tensor, Tensor], object] = lambda images, labels: None,
    wait: Callable[[], object] = lambda: None,
) -> float:
    """Images per second over `count` batches, after the first ones.

    Workers have prepared a few batches while the first ones were used, at most two per worker,
    which makes a short measurement look faster: the warm-up therefore ends with all of them used.
    """
    workers: int = getattr(batches, "_num_workers", 0)
    for _ in range(WARMUP + 2 * workers):
        use(*next(batches))
    wait()
    started = time.perf_counter()
    images = 0
    for _ in range(count + 2 * workers):
        batch, labels = next(batches)
        use(batch, labels)
        images += len(batch)
    wait()
    return images / (time.perf_counter() - started)


def step_speed(step: Step, scale: Scale, wait: Callable[[], object]) -> float:
    """Images per second of a step."""
    for _ in range(WARMUP):
        step()
    wait()
    started = time.perf_counter()
    for _ in range(scale.fed_batches):
        step()
    wait()
    return scale.batch * scale.fed_batches / (time.perf_counter() - started)
