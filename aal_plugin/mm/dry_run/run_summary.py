"""Describes a run on one screen: model, images, steps, learning rate, weight decay, λ."""

from __future__ import annotations

import copy
import warnings
from collections import defaultdict
from collections.abc import Callable, Iterator
from typing import Any

import torch
from mmengine.dist import get_world_size
from mmengine.optim import OptimWrapper
from mmengine.runner import Runner
from torch import nn

from aal_plugin.core import link_weight
from aal_plugin.mm.hooks.bare_model import bare_model
from aal_plugin.mm.hooks.lambda_decay_hook import LambdaDecayHook
from aal_plugin.mm.models.heads.teacher_head import HEADS

_LR_STEPS = 20_000  # steps of the schedulers that show the lr's course


def summary(runner: Runner, steps: Any, images_per_second: float | None) -> list[tuple[str, str]]:
    """The (name, text) rows that describe a run after its `TwoSteps`."""
    loader = runner.train_loop.dataloader
    speed = images_per_second or steps.images_per_second
    source = "given" if images_per_second else f"as in this step of {steps.batch} images"
    epochs, iterations = runner.max_epochs, runner.max_iters
    images = iterations * loader.batch_size * get_world_size()
    return [
        ("model", _parameters(bare_model(runner.model))),
        ("images", f"{steps.size}, {loader.batch_size} a step and rank, ranks: {get_world_size()}"),
        (
            "steps",
            f"{epochs} epochs of {len(loader)}, {iterations:,} in all; "
            f"{images / speed / 3600:.1f} hours at {speed:,.0f} images/s ({source})",
        ),
        ("learning rate", _course(epochs, "{:.3g}", learning_rates(runner, epochs).__getitem__)),
        *(("weight decay", text) for text in _decays(runner)),
        *(("λ", text) for text in _link_weights(runner, epochs)),
        *(("guidance", text) for text in _guidance(bare_model(runner.model))),
        *((f"step {number}", text) for number, text in enumerate(steps.logged, start=1)),
    ]


def _parameters(model: nn.Module) -> str:
    total = f"{type(model).__name__} with {_millions(model)} M parameters"
    parts = {name: getattr(model, name, None) for name in ("backbone", "head", *HEADS)}
    sizes = [
        f"{name} {_millions(part)} M"
        for name, part in parts.items()
        if isinstance(part, nn.Module) and any(True for _ in part.parameters())
    ]
    teacher = getattr(model, "teacher", None)
    if teacher is not None:
        sizes.append(f"frozen teacher {teacher.name} {_millions(teacher)} M")
    return f"{total} ({', '.join(sizes)})"


def _millions(module: nn.Module) -> str:
    return f"{sum(p.numel() for p in module.parameters()) / 1e6:.2f}"


def learning_rates(runner: Runner, epochs: int) -> list[float]:
    """The highest lr at the start of each epoch, by a run's schedulers on one number.

    Schedulers that MMEngine converts from epochs to iterations get shorter epochs. At an epoch's
    start their values are the same, but for a warm-up's, which differ by one part in its steps.
    """
    groups = runner.optim_wrapper.optimizer.param_groups
    start = max(group.get("initial_lr", group["lr"]) for group in groups)
    settings = runner.cfg.get("param_scheduler") or []
    settings = [settings] if isinstance(settings, dict) else settings
    length = len(runner.train_loop.dataloader)
    if all(each.get("by_epoch", True) for each in settings):
        length = min(length, max(1, _LR_STEPS // epochs))
    tiny = torch.optim.SGD([nn.Parameter(torch.zeros(1))], lr=start, momentum=0.9)
    small = copy.copy(runner)
    small.optim_wrapper = OptimWrapper(tiny)
    small._train_loop = copy.copy(runner.train_loop)
    small._train_loop.dataloader = range(length)  # MMEngine asks only for its length
    schedulers = small.build_param_scheduler(settings)
    found = []
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch warns because no optimizer step comes before
        for _ in range(epochs):
            found.append(tiny.param_groups[0]["lr"])
            for scheduler in schedulers:
                for _ in range(1 if scheduler.by_epoch else length):
                    scheduler.step()
    return found


def _decays(runner: Runner) -> Iterator[str]:
    """The parameters of each weight decay."""
    names = {id(p): name for name, p in runner.model.named_parameters()}
    groups: dict[float, list[tuple[str, int]]] = defaultdict(list)
    for group in runner.optim_wrapper.optimizer.param_groups:
        for parameter in group["params"]:
            groups[group.get("weight_decay", 0.0)].append((names[id(parameter)], parameter.numel()))
    for decay, members in sorted(groups.items(), reverse=True):
        count = sum(size for _, size in members) / 1e6
        kinds = sorted({name.rpartition(".")[2] for name, _ in members})
        yield f"{decay:g} on {count:.2f} M in {len(members)} tensors: {', '.join(kinds[:9])}"


def _link_weights(runner: Runner, epochs: int) -> Iterator[str]:
    for hook in runner.hooks:
        if isinstance(hook, LambdaDecayHook):
            head, schedule = hook._head, hook.schedule
            values = [link_weight(epoch, head.loss_weight, *schedule) for epoch in range(epochs)]
            yield f"{head.key}: {_course(epochs, '{:.4g}', values.__getitem__)}"


def _guidance(model: Any) -> Iterator[str]:
    head = getattr(model, "guidance", None)
    if head is not None:
        layers = model.teacher.layers
        pairs = [f"block {block} ← {layers[level - 1]}" for block, level in head.recording.pairs]
        yield f"weight {head.loss_weight:g}; {', '.join(pairs)}"


def _course(epochs: int, form: str, value: Callable[[int], float]) -> str:
    """Five values over the epochs of a run."""
    shown = sorted({round(share * (epochs - 1) / 4) for share in range(5)})
    return ", ".join(f"{form.format(value(epoch))} at epoch {epoch}" for epoch in shown)
