"""`LaunchedTask`: an `AttentionLinkTask` as timm's train.py builds and uses a task."""

from __future__ import annotations

from argparse import Namespace
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from timm.data import resolve_data_config
from torch import Tensor, nn

from aal_plugin.core import FrozenTeacher

from .attention_link_task import AttentionLinkTask
from .options import in_options
from .repeated_views import RepeatedViews, label_and_view


class LaunchedTask(AttentionLinkTask):
    """Built with train.py's arguments; teacher and settings are those of AAL's options.

    A subclass also derives from the task that it stands for, which may be multi-label.
    """

    args: Namespace
    built_teacher: FrozenTeacher
    settings: dict[str, Any]

    def __init__(self, model: nn.Module, *given: Any, **kwargs: Any) -> None:
        data = resolve_data_config(vars(self.args), model=model)
        kwargs.update(self.settings, mean=data["mean"], std=data["std"])
        with _errors_in_options():
            super().__init__(model, self.built_teacher, *given, **kwargs)
        if getattr(self.args, "channels_last", False):
            self.teacher.to(memory_format=torch.channels_last)

    def start_epoch(self, epoch: int, loader: Any) -> None:
        """Set λ and the views of the epoch, before train.py starts its loader."""
        self.set_epoch(epoch)
        folder = self.args.aal_kept_maps
        if self.args.aal_views is None:
            return
        images = getattr(loader, "dataset", None)
        if not isinstance(images, RepeatedViews):
            raise ValueError(
                "--aal-views: train_one_epoch of this train.py does not receive, as loader, what "
                "create_loader returned; drop --aal-views and --aal-kept-maps"
            )
        images.set_epoch(epoch)
        if folder is not None and self.kept is None:
            with _errors_in_options():
                views = len(images) * images.views
                self.keep_maps(folder, views, images.shown(), tuple(images[0][0].shape))

    def forward(
        self, input: Tensor, target: Tensor, views: Sequence[int] | None = None
    ) -> dict[str, Tensor]:
        if self.args.aal_views is not None:
            target, views = label_and_view(target)
        return super().forward(input, target, views)


@contextmanager
def _errors_in_options() -> Iterator[None]:
    try:
        yield
    except ValueError as error:
        raise ValueError(in_options(error)) from error
