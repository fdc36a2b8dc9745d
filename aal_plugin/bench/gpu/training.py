"""A training of the study, with all images on the device.

# B batch, s side in pixels
"""

from __future__ import annotations

import time
from typing import Any

import torch
from timm.optim import param_groups_weight_decay
from timm.task import ClassificationTask
from torch import Tensor, nn

from .drawn_images import Images, augmented, normalised
from .scale import Scale

WEIGHT_DECAY = 0.05


def train(
    task: ClassificationTask,
    model: nn.Module,
    data: tuple[Images, Images],
    epochs: int,
    lr: float,
    scale: Scale,
) -> dict[str, Any]:
    """Train `task` with AdamW and one cycle of the learning rate, under autocast.

    Args:
        task: its `trainable_module` holds all parameters to train.
        model: the network within it that classifies.
        data: images of training and validation.
        lr: the highest learning rate.

    Returns:
        `top1` (percent), `seconds` and `peak_memory_bytes` of the run, and `epochs`: loss, top-1,
        seconds and images per second of each, with AAL's λ and L_att.

    Raises:
        FloatingPointError: the loss became NaN or infinite.
    """
    training, validation = data
    torch.manual_seed(0)
    optimizer = torch.optim.AdamW(_groups(task.trainable_module), lr=lr)
    steps = len(training.labels) // scale.train_batch
    cycle = torch.optim.lr_scheduler.OneCycleLR(optimizer, lr, total_steps=epochs * steps)
    if scale.device.startswith("cuda"):
        torch.cuda.reset_peak_memory_stats()
    rows: list[dict[str, Any]] = []
    started = time.perf_counter()
    for epoch in range(epochs):
        if hasattr(task, "set_epoch"):
            task.set_epoch(epoch)
        began = time.perf_counter()
        losses = _epoch(task, model, training, optimizer, cycle, scale)
        loss = float(losses)  # waits for the device
        seconds = time.perf_counter() - began
        row = dict(epoch=epoch, loss=loss, top1=top1(model, validation, scale), seconds=seconds)
        row["images_per_second"] = steps * scale.train_batch / seconds
        if hasattr(task, "epoch_metrics"):
            row.update(task.epoch_metrics())
        rows.append(row)
        words = ", ".join(f"{key} {value:.4g}" for key, value in row.items() if key != "epoch")
        print(f"epoch {epoch + 1}/{epochs}: {words}", flush=True)
        if not loss < float("inf"):
            raise FloatingPointError(f"the loss of epoch {epoch + 1} is {loss}")
    return dict(
        top1=rows[-1]["top1"],
        seconds=time.perf_counter() - started,
        peak_memory_bytes=_peak(scale.device),
        epochs=rows,
    )


def _epoch(
    task: ClassificationTask,
    model: nn.Module,
    training: Images,
    optimizer: torch.optim.Optimizer,
    cycle: torch.optim.lr_scheduler.LRScheduler,
    scale: Scale,
) -> Tensor:
    """Train one epoch, without a wait for the device; returns the mean loss."""
    task.train()
    count, batch = len(training.labels), scale.train_batch
    order = torch.randperm(count, device=scale.device)
    total = torch.zeros((), device=scale.device)
    for start in range(0, count - batch + 1, batch):
        chosen = order[start : start + batch]
        images = normalised(augmented(training.images[chosen]), *_statistics(model))
        with _autocast(scale):
            loss = task(images, training.labels[chosen])["loss"]
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        cycle.step()
        total += loss.detach()
    return total / (count // batch)


@torch.no_grad()
def top1(model: nn.Module, validation: Images, scale: Scale) -> float:
    """Percent of validation images that the model classifies correctly."""
    model.eval()
    right = torch.zeros((), dtype=torch.int64, device=scale.device)
    for start in range(0, len(validation.labels), scale.batch):
        part = slice(start, start + scale.batch)
        with _autocast(scale):
            logits = model(normalised(validation.images[part], *_statistics(model)))
        right += (logits.argmax(1) == validation.labels[part]).sum()
    return 100 * int(right) / len(validation.labels)


def _statistics(model: nn.Module) -> tuple[Any, Any]:
    """Mean and std of the model's images: `AttentionLinkTask` reads them at the same place."""
    settings: Any = model.pretrained_cfg
    return settings["mean"], settings["std"]


def _groups(module: nn.Module) -> list[dict[str, Any]]:
    names: set[str] = getattr(module, "no_weight_decay", set)()
    return param_groups_weight_decay(module, WEIGHT_DECAY, no_weight_decay_list=names)


def _autocast(scale: Scale) -> torch.autocast:
    dtype = getattr(torch, scale.dtype)
    kind = torch.device(scale.device).type
    return torch.autocast(kind, dtype=dtype, enabled=scale.dtype != "float32")


def _peak(device: str) -> int | None:
    return torch.cuda.max_memory_allocated() if device.startswith("cuda") else None
