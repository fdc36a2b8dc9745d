"""Which checkpoint a run resumes from, whether it fits, and what it needs beside MMEngine's."""

from __future__ import annotations

import logging
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from mmengine.config import Config
from mmengine.dist import all_gather_object, all_reduce_dict, get_rank, get_world_size
from mmengine.hooks import EarlyStoppingHook, Hook
from mmengine.logging import print_log
from mmengine.registry import HOOKS
from mmengine.runner import Runner

from aal_plugin.checkpoint_file import check_checkpoint
from aal_plugin.mm.hooks.bare_model import bare_model, note_links

from .as_data import load_as_data
from .fit import check_resumed, is_sharded, optimizer_name
from .loops import ResumableEpochLoop
from .random_states import random_state, set_random_state


def resume_from_whole_checkpoint(cfg: Config) -> None:
    """For `--resume` without a file: the checkpoint of the work dir to continue from.

    This is the first whole one of `_candidates`. If there is none, training starts at epoch 0.
    """
    if not cfg.get("resume") or cfg.get("load_from"):
        return
    for path in _candidates(cfg):
        try:
            check_checkpoint(str(path))
        except (OSError, ValueError) as error:
            _warn(f"--resume: {error}; skipped")
        else:
            cfg.load_from = str(path)
            return
    _warn(f"--resume: no complete checkpoint in {cfg.work_dir}; training starts at epoch 0")
    cfg.resume = False


def take_seed_of_checkpoint(cfg: Config) -> None:
    """Give a resumed run its checkpoint's seed; MMEngine does so after it built the sampler.

    Without a seed in the config each process would draw its own, and a run that resumes within an
    epoch would see some images twice and others never.
    """
    path, given = cfg.get("load_from"), dict(cfg.get("randomness") or {})
    if not cfg.get("resume") or not path or not Path(path).is_file():
        return
    seed = (load_as_data(path).get("meta") or {}).get("seed")
    if seed is not None and given.get("seed") not in (None, seed):
        _warn(
            f"--resume: the run goes on with the seed {seed} of its checkpoint, not with "
            f"randomness.seed={given['seed']}"
        )
    if seed is not None:
        cfg.randomness = dict(given, seed=seed)


def _candidates(cfg: Config) -> Iterator[Path]:
    """The file that `last_checkpoint` names, then the loop's numbered files, newest first."""
    folder = Path(cfg.work_dir)
    hook = (cfg.get("default_hooks") or {}).get("checkpoint") or {}
    if hook.get("out_dir"):
        folder = Path(hook["out_dir"]) / folder.name
    last = Path(cfg.work_dir) / "last_checkpoint"
    named = last.read_text(errors="replace").strip() if last.is_file() else ""
    if named:
        # By its name alone: if the work dir was moved, another run may be in the old place.
        yield folder / Path(named).name
    loop = cfg.get("train_cfg") or {}
    by_epoch = loop.get("by_epoch", "max_iters" not in loop)
    pattern = numbered(hook.get("filename_tmpl") or ("epoch_{}.pth" if by_epoch else "iter_{}.pth"))
    found = {path: pattern.fullmatch(path.name) for path in folder.glob("*")}
    ordered = sorted((int(match["number"]), path) for path, match in found.items() if match)
    yield from (path for _, path in reversed(ordered) if path.name != Path(named).name)


def numbered(template: str) -> re.Pattern:
    """Matches the file names of a `filename_tmpl`; group 'number' is the epoch or iteration."""
    return re.compile(re.escape(template).replace(r"\{\}", r"(?P<number>\d+)"))


@HOOKS.register_module()
class ExactResumeHook(Hook):
    """Saves what MMEngine's checkpoints lack, and restores it, so that a resumed run is unbroken.

    - The random states of every rank: Python's, NumPy's, torch's and the GPU's. Mixup, drop path
      and dropout draw from them; image transforms have random numbers of their own (`loops`). Work
      between two training steps, such as a validation or the start of workers, does not change
      them.
    - The batches of the epoch that were trained on, and whether the validation was done.
    - What each EarlyStoppingHook has counted.
    - Accumulated gradients, if the optimizer has not used them yet: their mean over the ranks.

    Raises:
        ValueError: on `--resume`, if the checkpoint has other links, weights or another optimizer.
    """

    priority = "VERY_HIGH"

    def __init__(self) -> None:
        self._held: dict[str, Any] | None = None
        self._of_all: list[dict[str, Any]] | None = None
        self._gradients: dict[str, torch.Tensor] = {}

    def hold(self, runner: Runner) -> None:
        """Store the random states and gradients until the next step. All ranks must call this."""
        if self._held is None:
            self._held = random_state()
            self._of_all = all_gather_object(self._held)
            self._gradients = _accumulated(runner)

    def after_train_epoch(self, runner: Runner) -> None:
        self.hold(runner)

    def before_val(self, runner: Runner) -> None:
        self.hold(runner)

    def after_val_epoch(self, runner: Runner, metrics: dict[str, float] | None = None) -> None:
        # Before the checkpoint hook's: a file that it saves now holds this validation's result.
        runner.train_loop.validated_at = runner.iter

    def before_train_iter(self, runner: Runner, batch_idx: int, data_batch: Any = None) -> None:
        if self._held is not None:
            set_random_state(self._held)
            self._held = None

    def before_save_checkpoint(self, runner: Runner, checkpoint: dict) -> None:
        loop, meta = runner.train_loop, checkpoint["meta"]
        # A hook of a lab may save within an epoch: then only this rank's state is known.
        states = self._of_all if self._held is not None else [random_state()]
        checkpoint["random_states"] = dict(ranks=states, batches=len(loop.dataloader))
        if isinstance(loop, ResumableEpochLoop):
            checkpoint["random_states"]["batches_done"] = loop.batches_done
        if self._held is not None and self._gradients:
            checkpoint["accumulated_gradients"] = self._gradients
        note_links(runner, checkpoint)
        stopping = [(hook.best_score, hook.wait_count) for hook in _early_stopping(runner)]
        meta["early_stopping"] = stopping
        meta["validated"] = getattr(loop, "validated_at", 0) == meta["iter"]
        meta["optimizer"] = optimizer_name(runner)

    def after_load_checkpoint(self, runner: Runner, checkpoint: dict) -> None:
        if not runner._resume:
            return
        check_resumed(runner, checkpoint)
        meta = checkpoint["meta"]
        if meta.get("validated"):
            runner.train_loop.validated_at = meta["iter"]
        for hook, state in zip(_early_stopping(runner), meta.get("early_stopping", ())):
            hook.best_score, hook.wait_count = state
        for name, parameter in bare_model(runner.model).named_parameters():
            gradient = checkpoint.get("accumulated_gradients", {}).get(name)
            if gradient is not None:
                parameter.grad = gradient.to(parameter.device, parameter.dtype)
        saved = checkpoint.get("random_states")
        if saved is None:
            runner.logger.info(
                "the checkpoint has no random states; the random numbers differ from those of an "
                "uninterrupted run"
            )
            return
        if get_world_size() == len(saved["ranks"]):
            self._held = saved["ranks"][get_rank()]
            self._of_all = saved["ranks"]
            self._gradients = checkpoint.get("accumulated_gradients", {})
        else:
            _warn_of(f"{len(saved['ranks'])} ranks, but this run has {get_world_size()}")
        done, batches = saved.get("batches_done", 0), len(runner.train_loop.dataloader)
        if done and saved["batches"] == batches:
            runner.train_loop.batches_done = done
            runner.logger.info(f"training continues after batch {done} of its epoch")
        elif done:
            _warn_of(f"{saved['batches']} batches an epoch, but this run has {batches}")


def _early_stopping(runner: Runner) -> list[EarlyStoppingHook]:
    return [hook for hook in runner.hooks if isinstance(hook, EarlyStoppingHook)]


def _accumulated(runner: Runner) -> dict[str, torch.Tensor]:
    if getattr(runner.optim_wrapper, "_accumulative_counts", 1) == 1 or is_sharded(runner):
        return {}
    gradients = {
        name: parameter.grad.detach().clone()
        for name, parameter in bare_model(runner.model).named_parameters()
        if parameter.grad is not None  # the optimizer's step removes them
    }
    if gradients:
        all_reduce_dict(gradients, "mean")  # as DDP would at the optimizer's step
    return {name: gradient.cpu() for name, gradient in gradients.items()}


def _warn_of(difference: str) -> None:
    _warn(
        f"the checkpoint was saved with {difference}; training continues, but with other random "
        "numbers than an uninterrupted run"
    )


def _warn(words: str) -> None:
    print_log(words, logger="current", level=logging.WARNING)
