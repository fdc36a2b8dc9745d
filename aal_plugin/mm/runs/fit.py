"""Whether a run can continue the training of a checkpoint."""

from __future__ import annotations

from mmengine.runner import Runner, find_latest_checkpoint
from torch.distributed.fsdp import FullyShardedDataParallel

from aal_plugin.mm.evaluation.trained_weights import misfits
from aal_plugin.mm.hooks.bare_model import bare_model, links_of


def check_resumed(runner: Runner, checkpoint: dict) -> None:
    """Raise ValueError if the run cannot continue the training of a checkpoint."""
    difference = None if is_sharded(runner) else _difference(runner, checkpoint)
    if difference:
        raise ValueError(
            f"--resume: checkpoint {resumed_file(runner)!r} {difference}; resume with the config "
            "that it was trained with, or start a new run from its weights with load_from"
        )


def _difference(runner: Runner, checkpoint: dict) -> str | None:
    model, links = bare_model(runner.model), links_of(runner)
    saved = checkpoint["meta"].get("attention_links")
    if links is not None and saved is not None:
        ranges = [[tuple(r) for r in part] for part in (saved["ranges"], links.ranges)]
        if ranges[0] != ranges[1]:
            return f"links the blocks {ranges[0]}, but this config {ranges[1]}"
    weights = checkpoint["state_dict"]
    trained = {name for name, p in model.named_parameters() if p.requires_grad} | set(weights)
    own = {name: tensor for name, tensor in model.state_dict().items() if name in trained}
    found = misfits(own, weights)
    if found:
        return f"does not fit this model: {found[0]}"
    name, kind = checkpoint["meta"].get("optimizer"), optimizer_name(runner)
    if name and kind and name != kind:
        return f"was trained with {name}, but this run has {kind}"
    return None  # torch compares the optimizer's parameter groups


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
