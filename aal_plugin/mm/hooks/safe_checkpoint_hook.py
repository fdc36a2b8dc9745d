"""`SafeCheckpointHook`: removes an old checkpoint only after the new one is on the disk."""

from __future__ import annotations

import os
from typing import Any

from mmengine.dist import is_main_process
from mmengine.fileio import LocalBackend, register_backend
from mmengine.hooks import CheckpointHook
from mmengine.registry import HOOKS
from mmengine.runner import Runner

from aal_plugin.files import remove_parts, write_whole

from .random_state_hook import RandomStateHook

INTERRUPTED = "interrupted.pth"  # the checkpoint of a run that was stopped within an epoch


@register_backend("whole")
class WholeFileBackend(LocalBackend):
    """The local disk. It writes to a temporary file, flushes it and renames it."""

    def put(self, obj: bytes, filepath: str) -> None:
        os.makedirs(os.path.dirname(filepath) or ".", exist_ok=True)
        write_whole(filepath, obj)


class _RemovingLater:
    """A file backend that appends removed paths to a list instead of deleting them."""

    def __init__(self, backend: Any, outdated: list[str]) -> None:
        self._backend = backend
        self.remove = self.rmtree = outdated.append

    def __getattr__(self, name: str) -> Any:
        return getattr(self._backend, name)


@HOOKS.register_module()
class SafeCheckpointHook(CheckpointHook):
    """MMEngine's CheckpointHook, but a run that is killed while it saves loses nothing.

    Each file (checkpoints, the best ones, `last_checkpoint`) is written to a temporary file,
    flushed to the disk and renamed. Only then the hook removes the checkpoints that
    `max_keep_ckpts` and `save_best` replace; if the run is killed before that, the resumed run
    removes them. The arguments are CheckpointHook's. With an `out_dir` or `backend_args` of
    another storage, files go through the backend of that storage.
    """

    # CheckpointHook sets these without annotations.
    file_backend: Any
    backend_args: dict | None

    def before_train(self, runner: Runner) -> None:
        super().before_train(runner)
        local = self.file_client_args is None and type(self.file_backend) is LocalBackend
        if local and not self.backend_args:
            self.backend_args = dict(backend="whole")
            self.file_backend = WholeFileBackend()
            if is_main_process():
                for folder in filter(os.path.isdir, {self.out_dir, runner.work_dir}):
                    remove_parts(folder)
        self._storage = self.file_backend
        self._outdated: list[str] = list(_info(runner, "outdated_ckpts", []))
        self.file_backend = _RemovingLater(self._storage, self._outdated)
        self._remove_outdated()
        self._outdated.append(self._storage.join_path(self.out_dir, INTERRUPTED))

    def _save_checkpoint_with_step(self, runner: Runner, step: int, meta: dict) -> None:
        if self.max_keep_ckpts > 0 and (not self.keep_ckpt_ids or self.keep_ckpt_ids[-1] != step):
            if len(self.keep_ckpt_ids) == self.max_keep_ckpts:
                oldest = self.filename_tmpl.format(self.keep_ckpt_ids.popleft())
                self._outdated.append(self._storage.join_path(self.out_dir, oldest))
            self.keep_ckpt_ids.append(step)
            runner.message_hub.update_info("keep_ckpt_ids", list(self.keep_ckpt_ids))
        self.save(runner, self.filename_tmpl.format(step), meta, by_epoch=self.by_epoch)

    def save(self, runner: Runner, name: str, meta: dict, by_epoch: bool) -> None:
        """Save a checkpoint and remove those that it replaces. All ranks must call this."""
        for hook in runner.hooks:
            if isinstance(hook, RandomStateHook):
                hook.hold(runner)
        self.last_ckpt = self._storage.join_path(self.out_dir, name)
        runner.message_hub.update_info("last_ckpt", self.last_ckpt)
        runner.message_hub.update_info("outdated_ckpts", list(self._outdated))
        runner.save_checkpoint(
            self.out_dir,
            name,
            self.file_client_args,
            save_optimizer=self.save_optimizer,
            save_param_scheduler=self.save_param_scheduler,
            meta=meta,
            by_epoch=by_epoch,
            backend_args=self.backend_args,
            **self.args,
        )
        if is_main_process():
            write_whole(os.path.join(runner.work_dir, "last_checkpoint"), str(self.last_ckpt))
        self._remove_outdated()

    def _save_best_checkpoint(self, runner: Runner, metrics: dict) -> None:
        super()._save_best_checkpoint(runner, metrics)
        self._remove_outdated()

    def _remove_outdated(self) -> None:
        best = getattr(self, "best_ckpt_path_dict", None) or {}
        kept = [self.last_ckpt, getattr(self, "best_ckpt_path", None), *best.values()]
        for path in self._outdated if is_main_process() else ():
            if path not in kept and self._storage.isfile(path):
                self._storage.remove(path)
            elif path not in kept and self._storage.isdir(path):  # deepspeed's
                self._storage.rmtree(path)
        self._outdated.clear()


def _info(runner: Runner, key: str, default: Any) -> Any:
    hub = runner.message_hub
    return hub.get_info(key) if key in hub.runtime_info else default
