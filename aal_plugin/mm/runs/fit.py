"""Whether a run can continue the training of a checkpoint."""

from __future__ import annotations

import torch
from mmengine.runner import Runner, find_latest_checkpoint
from torch.distributed.fsdp import FullyShardedDataParallel

from aal_plugin.mm.hooks.bare_model import bare_model, links_of

# By these a checkpoint of MMEngine tells its optimizer; torch adds other arguments over the years.
_TELLING = {"momentum", "betas", "alpha", "rho"}


def check_resumed(runner: Runner, checkpoint: dict) -> None:
    """Raise ValueError if the run cannot continue the training of a checkpoint."""
    if is_sharded(runner):
        return
    model, links = bare_model(runner.model), links_of(runner)
    saved = checkpoint["meta"].get("attention_links")
    if links is not None and saved is not None:
        ranges = [[tuple(r) for r in part] for part in (saved["ranges"], links.ranges)]
        if ranges[0] != ranges[1]:
            _refuse(runner, f"links the blocks {ranges[0]}, but this config {ranges[1]}")
    weights = checkpoint["state_dict"]
    own = model.state_dict()
    trained = [name for name, p in model.named_parameters() if p.requires_grad and name in own]
    for name in dict.fromkeys([*trained, *(name for name in weights if name in own)]):
        if name not in weights or weights[name].shape != own[name].shape:
            given = tuple(weights[name].shape) if name in weights else "missing"
            _refuse(runner, f"has {name} {given}, but this model's is {tuple(own[name].shape)}")
    foreign = [name for name in weights if name not in own]
    if foreign:
        _refuse(runner, f"has {foreign[0]}, which this model has not")
    optimizer = getattr(runner.optim_wrapper, "optimizer", None)
    groups = (checkpoint.get("optimizer") or {}).get("param_groups")
    if not isinstance(optimizer, torch.optim.Optimizer) or groups is None:
        return
    name, kind = checkpoint["meta"].get("optimizer"), optimizer_name(runner)
    needed = _TELLING & set(optimizer.defaults)
    if (name or kind) != kind or (groups and not needed <= set(groups[0])):
        _refuse(runner, f"was trained with {name or 'another optimizer'}, but this run has {kind}")
    sizes = [[len(group["params"]) for group in part] for part in (groups, optimizer.param_groups)]
    if sizes[0] != sizes[1]:
        words = [f"{len(part)} parameter groups of {sum(part)} parameters" for part in sizes]
        _refuse(runner, f"has an optimizer with {words[0]}, but this run's has {words[1]}")


def _refuse(runner: Runner, difference: str) -> None:
    raise ValueError(
        f"--resume: checkpoint {resumed_file(runner)!r} {difference}; resume with the config that "
        "it was trained with, or start a new run from its weights with load_from"
    )


def resumed_file(runner: Runner) -> str | None:
    """The checkpoint that a runner resumes from, or None."""
    if isinstance(runner._resume, str):  # FlexibleRunner's
        return runner._resume
    named = runner._load_from or (find_latest_checkpoint(runner.work_dir) if runner._resume else "")
    return (named or None) if runner._resume else None


def optimizer_name(runner: Runner) -> str | None:
    """The class of the optimizer; None if there are several."""
    optimizer = getattr(runner.optim_wrapper, "optimizer", None)
    return None if optimizer is None else type(optimizer).__name__


def is_sharded(runner: Runner) -> bool:
    """Whether the model is FSDP's, which shows the shapes of its shards."""
    return any(isinstance(module, FullyShardedDataParallel) for module in runner.model.modules())
