"""The model of a runner without the wrappers of parallel training, and its links."""

from __future__ import annotations

from typing import Any

from mmengine.model import BaseModel, is_model_wrapper
from mmengine.runner import Runner
from torch import nn


def bare_model(model: nn.Module) -> BaseModel:
    """Remove every wrapper (DDP, FSDP and those of a lab) from `runner.model`."""
    bare: Any = model
    while is_model_wrapper(bare):
        bare = bare.module
    return bare


def links_of(runner: Runner) -> Any:
    """The links of a runner's model, or None."""
    return getattr(getattr(bare_model(runner.model), "link_head", None), "links", None)


def note_links(runner: Runner, checkpoint: dict) -> None:
    """Let the links be read from a checkpoint without building its model."""
    links = links_of(runner)
    if links is not None:
        checkpoint["meta"]["attention_links"] = dict(ranges=links.ranges, heads=links.heads)
