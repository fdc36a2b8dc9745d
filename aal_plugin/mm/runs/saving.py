"""How a checkpoint comes to the disk, and which older ones then go."""

from __future__ import annotations

import errno
import os
import re
import socket
from collections import deque
from typing import Any

from mmengine.dist import is_main_process
from mmengine.fileio import LocalBackend, register_backend
from mmengine.hooks import CheckpointHook
from mmengine.registry import HOOKS
from mmengine.runner import Runner

from aal_plugin.files import remove_parts, write_whole

from .fit import resumed_file
from .resuming import ExactResumeHook, numbered

INTERRUPTED = "interrupted.pth"  # the checkpoint of a run that was stopped within an epoch
_LOCK = ".running"


@register_backend("whole")
class WholeFileBackend(LocalBackend):
    """The local disk. It writes to a temporary file, flushes it and renames it."""

    def put(self, obj: bytes, filepath: str) -> None:
        os.makedirs(os.path.dirname(filepath) or ".", exist_ok=True)
        write_whole(filepath, obj)


class _RemovingLater:
    """A file backend that appends the names of removed files to a list and deletes nothing."""

    def __init__(self, backend: Any, outdated: list[str]) -> None:
        self._backend = backend
        self._outdated = outdated

    def remove(self, path: str) -> None:
        self._outdated.append(os.path.basename(path))

    rmtree = remove  # no folder is ever deleted, so deepspeed's checkpoints stay

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

    A checkpoint stores names of files, never paths, and none of them is acted on unless this run
    resumes from its own folder. Only files that lie directly in it are removed, and only if they
    have names that this hook gives.

    Raises:
        ValueError: another process trains in the same work dir.
    """

    # CheckpointHook sets these without annotations.
    file_backend: Any
    backend_args: dict | None

    def before_run(self, runner: Runner) -> None:
        self._lock = _lock(runner.work_dir) if is_main_process() else None

    def after_run(self, runner: Runner) -> None:
        if self._lock is not None:
            os.close(self._lock)

    def before_train(self, runner: Runner) -> None:
        info = runner.message_hub.runtime_info  # of the resumed file
        kept = {key: info.pop(key) for key in list(info) if _names_a_file(key)}
        super().before_train(runner)
        local = self.file_client_args is None and type(self.file_backend) is LocalBackend
        if local and not self.backend_args:
            self.backend_args = dict(backend="whole")
            self.file_backend = WholeFileBackend()
            for folder in {self.out_dir, runner.work_dir} if is_main_process() else ():
                remove_parts(folder)
        self._storage = self.file_backend
        self._outdated: list[str] = []
        self.file_backend = _RemovingLater(self._storage, self._outdated)
        resumed = resumed_file(runner) or ""
        if resumed and os.path.realpath(os.path.dirname(resumed)) == os.path.realpath(self.out_dir):
            self._continue(runner, resumed, kept)
        self._remove_outdated()
        self._outdated.append(INTERRUPTED)

    def _continue(self, runner: Runner, resumed: str, kept: dict[str, Any]) -> None:
        """Take over what the resumed checkpoint says of the other files in its folder."""
        self.last_ckpt = self._path(os.path.basename(resumed))
        outdated = kept.get("outdated_ckpts")
        self._outdated += [name for name in outdated or () if type(name) is str]
        if self.max_keep_ckpts > 0:
            steps = [step for step in kept.get("keep_ckpt_ids") or () if type(step) is int]
            self._outdated += map(self.filename_tmpl.format, steps[: -self.max_keep_ckpts])
            self.keep_ckpt_ids = deque(steps, self.max_keep_ckpts)
            runner.message_hub.update_info("keep_ckpt_ids", list(self.keep_ckpt_ids))
        for key, given in kept.items():
            name = os.path.basename(given) if type(given) is str else ""
            if not key.startswith("best_ckpt") or not self._gave(name):
                continue
            if key == "best_ckpt" and hasattr(self, "best_ckpt_path"):
                self.best_ckpt_path = self._path(name)
            elif key != "best_ckpt" and hasattr(self, "best_ckpt_path_dict"):
                self.best_ckpt_path_dict[key.removeprefix("best_ckpt_")] = self._path(name)
            runner.message_hub.update_info(key, self._path(name))

    def _save_checkpoint_with_step(self, runner: Runner, step: int, meta: dict) -> None:
        if self.max_keep_ckpts > 0 and (not self.keep_ckpt_ids or self.keep_ckpt_ids[-1] != step):
            if len(self.keep_ckpt_ids) == self.max_keep_ckpts:
                self._outdated.append(self.filename_tmpl.format(self.keep_ckpt_ids.popleft()))
            self.keep_ckpt_ids.append(step)
            runner.message_hub.update_info("keep_ckpt_ids", list(self.keep_ckpt_ids))
        self.save(runner, self.filename_tmpl.format(step), meta, by_epoch=self.by_epoch)

    def save(self, runner: Runner, name: str, meta: dict, by_epoch: bool) -> None:
        """Save a checkpoint and remove those that it replaces. All ranks must call this."""
        for hook in runner.hooks:
            if isinstance(hook, ExactResumeHook):
                hook.hold(runner)
        self.last_ckpt = self._path(name)
        runner.message_hub.update_info("last_ckpt", name)
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

    def before_save_checkpoint(self, runner: Runner, checkpoint: dict) -> None:
        info = checkpoint.get("message_hub", {}).get("runtime_info", {})
        for key in info:
            if key.startswith("best_ckpt") and type(info[key]) is str:
                info[key] = os.path.basename(info[key])

    def _remove_outdated(self) -> None:
        best = getattr(self, "best_ckpt_path_dict", None) or {}
        kept = [self.last_ckpt, getattr(self, "best_ckpt_path", None), *best.values()]
        for name in self._outdated if is_main_process() else ():
            path = self._path(name)
            if self._gave(name) and path not in kept and self._storage.isfile(path):
                self._storage.remove(path)
        self._outdated.clear()

    def _path(self, name: str) -> str:
        return self._storage.join_path(self.out_dir, name)

    def _gave(self, name: str) -> bool:
        """Whether this hook gives files such names."""
        number = numbered(self.filename_tmpl).pattern
        return name == INTERRUPTED or bool(re.fullmatch(rf"(best_[^/\\]+_)?{number}", name))


def _names_a_file(key: str) -> bool:
    return key.startswith("best_ckpt") or key in ("last_ckpt", "keep_ckpt_ids", "outdated_ckpts")


def _lock(folder: str) -> int | None:
    """Claim a folder for this process; the system ends the claim when the process ends."""
    try:
        import fcntl
    except ImportError:  # Windows
        return None
    file = os.open(os.path.join(folder, _LOCK), os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o666)
    try:
        # Not flock: workers would inherit it, and they outlive a killed process by seconds.
        fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        other = os.read(file, 200).decode(errors="replace").strip()
        os.close(file)
        if error.errno not in (errno.EACCES, errno.EAGAIN):
            return None  # a file system without locks
        raise ValueError(
            f"work_dir={folder!r}: {other or 'another process'} trains there; wait for its end or "
            "choose another work_dir"
        ) from None
    os.ftruncate(file, 0)
    os.write(file, f"process {os.getpid()} of {socket.gethostname()}\n".encode())
    return file
