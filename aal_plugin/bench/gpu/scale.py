"""The models and sizes of all parts: the full size for a GPU, and a toy that a CPU runs."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from typing import Any

from aal_plugin.bench import Setting


@dataclass(frozen=True)
class Scale:
    """Models and sizes. Results of another scale do not count as done."""

    device: str = "cuda"
    student: str = "deit_small_patch16_224"
    teacher: str = "efficientnet_b3"
    size: int = 224  # side of the images in pixels
    dtype: str = "bfloat16"

    # Benchmark, profile and input
    batch: int = 256
    classes: int = 1000
    rounds: int = 15
    repeat: int = 3  # steps in one measurement
    profiled_steps: int = 5
    workers: tuple[int, ...] = ()  # of the input; empty: half of the cores, and all
    fed_batches: int = 20

    # Study
    links: str = "alpha"
    train_images: int = 5000
    val_images: int = 1000
    train_batch: int = 128
    teacher_epochs: int = 20
    epochs: int = 80

    def setting(self) -> Setting:
        """The benchmark's setting."""
        return Setting(
            student=self.student,
            teacher=self.teacher,
            batch=self.batch,
            size=self.size,
            classes=self.classes,
            dtype=self.dtype,
            device=self.device,
        )

    def as_json(self) -> dict[str, Any]:
        """As it comes back from a JSON file."""
        return json.loads(json.dumps(asdict(self)))


def toy(device: str) -> Scale:
    """Every part in seconds on one core; its figures mean nothing."""
    return Scale(
        device=device,
        student="test_vit",
        teacher="test_resnet",
        size=64,
        batch=4,
        classes=10,
        rounds=2,
        repeat=1,
        profiled_steps=1,
        workers=(0,),
        fed_batches=2,
        train_images=20,
        val_images=10,
        train_batch=10,
        teacher_epochs=1,
        epochs=2,
    )
