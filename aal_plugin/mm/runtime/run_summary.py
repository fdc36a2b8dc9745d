"""Describes a run on one screen: model, images, steps, learning rate, weight decay, λ."""

from __future__ import annotations

import warnings
from collections import defaultdict
from collections.abc import Iterator
from typing import NamedTuple

from mmengine.dist import get_world_size
from mmengine.runner import Runner
from torch import nn

from aal_plugin.core import link_weight
from aal_plugin.mm.hooks.bare_model import bare_model
from aal_plugin.mm.hooks.lambda_decay_hook import LambdaDecayHook

Row = tuple[str, str]


class Steps(NamedTuple):
    """The steps of a dry run.

    Attributes:
        logged: the losses of each step, as text.
        images_per_second: speed of the last step, of all ranks together.
        batch: images in a step of one rank.
    """

    logged: list[str]
    images_per_second: float
    batch: int


def summary(runner: Runner, steps: Steps, images_per_second: float | None) -> list[Row]:
    """The (name, text) rows that describe a run.

    Args:
        images_per_second: speed of all ranks together; by default that of `steps`.
    """
    loader = runner.train_loop.dataloader
    speed = images_per_second or steps.images_per_second
    source = "given" if images_per_second else f"as in this step of {steps.batch} images"
    epochs, iterations = runner.max_epochs, runner.max_iters
    images = iterations * loader.batch_size * get_world_size()
    size = "×".join(map(str, loader.dataset[0]["inputs"].shape))
    return [
        ("model", _parameters(bare_model(runner.model))),
        ("images", f"{size}, {loader.batch_size} a step and rank, ranks: {get_world_size()}"),
        (
            "steps",
            f"{epochs} epochs of {len(loader)}, {iterations:,} in all; "
            f"{images / speed / 3600:.1f} hours at {speed:,.0f} images/s ({source})",
        ),
        ("learning rate", _learning_rates(runner, epochs)),
        *(("weight decay", text) for text in _decays(runner)),
        *(("λ", text) for text in _link_weights(runner, epochs)),
        *((f"step {number}", text) for number, text in enumerate(steps.logged, start=1)),
    ]


def _parameters(model: nn.Module) -> str:
    total = f"{type(model).__name__} with {_millions(model)} M parameters"
    parts = {name: getattr(model, name, None) for name in ("backbone", "head", "link_head")}
    sizes = [
        f"{name} {_millions(part)} M" for name, part in parts.items() if isinstance(part, nn.Module)
    ]
    teacher = getattr(model, "teacher", None)
    if teacher is not None:
        sizes.append(f"frozen teacher {teacher.name} {_millions(teacher)} M")
    return f"{total} ({', '.join(sizes)})"


def _millions(module: nn.Module) -> str:
    return f"{sum(p.numel() for p in module.parameters()) / 1e6:.2f}"


def _learning_rates(runner: Runner, epochs: int) -> str:
    """The lr at five epochs, from the schedulers themselves, stepped through the whole run."""
    optimizer = runner.optim_wrapper.optimizer
    schedulers = runner.param_schedulers
    if isinstance(schedulers, dict):
        schedulers = [one for several in schedulers.values() for one in several]
    schedulers = schedulers or []
    by_step = [scheduler for scheduler in schedulers if not scheduler.by_epoch]
    by_epoch = [scheduler for scheduler in schedulers if scheduler.by_epoch]
    shown, found = _five(epochs), {}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch warns because no optimizer step comes before
        for epoch in range(epochs):
            if epoch in shown:
                found[epoch] = max(group["lr"] for group in optimizer.param_groups)
            for _ in range(len(runner.train_loop.dataloader) if by_step else 0):
                for scheduler in by_step:
                    scheduler.step()
            for scheduler in by_epoch:
                scheduler.step()
    return _course({epoch: f"{value:.3g}" for epoch, value in found.items()})


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
            head = hook._head
            course = {e: link_weight(e, head.loss_weight, *hook.schedule) for e in _five(epochs)}
            yield f"{head.key}: " + _course({e: f"{v:.4g}" for e, v in course.items()})


def _course(values: dict[int, str]) -> str:
    return ", ".join(f"{value} at epoch {epoch}" for epoch, value in values.items())


def _five(epochs: int) -> list[int]:
    return sorted({round(share * (epochs - 1) / 4) for share in range(5)})
