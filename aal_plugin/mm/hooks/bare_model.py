"""The model of a runner without the wrappers of parallel training."""

from __future__ import annotations

from typing import Any

from mmengine.model import BaseModel, is_model_wrapper
from torch import nn


def bare_model(model: nn.Module) -> BaseModel:
    """Remove every wrapper (DDP, FSDP and those of a lab) from `runner.model`."""
    bare: Any = model
    while is_model_wrapper(bare):
        bare = bare.module
    return bare
