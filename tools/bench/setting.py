"""What a benchmark measures: models, sizes and options."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from aal_plugin.core.losses.link_ranges import Links


@dataclass
class Setting:
    """The models and sizes to measure. Weights are random: the cost does not depend on them."""

    student: str = "deit_small_patch16_224"
    teacher: str = "efficientnet_b3"
    batch: int = 16
    size: int = 224
    classes: int = 1000
    dtype: str = "float32"  # of autocast, and of the teacher
    device: str = "cpu"
    links: Links = "full"
    channels_last: bool = True
    fold_norms: bool = True
    compile: bool = False

    def __post_init__(self) -> None:
        if self.dtype not in ("float32", "bfloat16", "float16"):
            raise ValueError(f"--dtype {self.dtype}; choose float32, bfloat16 or float16")
        if self.device.startswith("cuda") and not torch.cuda.is_available():
            raise ValueError(f"--device {self.device}: no CUDA device was found; choose cpu")
