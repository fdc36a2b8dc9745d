"""`LaunchedTask`: the `AttentionLinkTask` of some options, as timm's train.py uses a task."""

from __future__ import annotations

import re
from argparse import Namespace
from collections.abc import Sequence
from typing import Any

import torch
import yaml
from timm.data import resolve_data_config
from torch import Tensor, nn

from aal_plugin.core import FrozenTeacher, TimmTeacher, paper_course
from aal_plugin.core.student.by_name import AttentionLayers

from .attention_link_task import AttentionLinkTask
from .distillation import Distillation
from .options import errors_in_options, given
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
        with errors_in_options():
            super().__init__(model, self.built_teacher, *given, **kwargs)
        if getattr(self.args, "channels_last", False):
            self.teacher.to(memory_format=torch.channels_last)

    def start_epoch(self, epoch: int, loader: Any) -> None:
        """Set λ and the views of the epoch, before train.py starts its loader."""
        self.set_epoch(epoch)
        if self.args.aal_views is None:
            return
        images, folder = getattr(loader, "dataset", None), self.args.aal_kept_maps
        with errors_in_options():
            if not isinstance(images, RepeatedViews):
                raise ValueError(
                    "--aal-views: train_one_epoch of this train.py does not receive, as loader, "
                    "what create_loader returned; drop --aal-views and --aal-kept-maps"
                )
            images.set_epoch(epoch)
            if folder is not None and self.kept is None:
                views = len(images) * images.views
                self.keep_maps(folder, views, images.shown(), tuple(images[0][0].shape))

    def forward(
        self, input: Tensor, target: Tensor, views: Sequence[int] | None = None
    ) -> dict[str, Tensor]:
        if self.args.aal_views is not None:
            target, views = label_and_view(target)
        return super().forward(input, target, views)


def build_teacher(args: Namespace) -> TimmTeacher:
    """The teacher that the options name.

    Raises:
        FileNotFoundError, ValueError: there is none, or it has no weights, two sources of them, or
            weights that do not fit.
    """
    if not args.aal_teacher:
        raise ValueError("--aal-teacher is missing; give a timm model, such as efficientnet_b3")
    if args.aal_random_teacher and (args.aal_teacher_pretrained or args.aal_teacher_checkpoint):
        raise ValueError("--aal-random-teacher, but weights are given as well; drop one of the two")
    # A random stream of its own: every rank has the same teacher, and the run sees the same
    # batches as a run of the same seed without AAL.
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(getattr(args, "seed", 0))
        return TimmTeacher(**given(args, "teacher"))


def task_settings(args: Namespace) -> dict[str, Any]:
    """The keyword arguments of `AttentionLinkTask` that the options stand for.

    Fills in gammas and milestones, so that args.yaml records them.

    Raises:
        ValueError: options that contradict each other.
    """
    if args.aal_final is not None:
        if args.aal_gammas is not None or args.aal_milestones is not None:
            raise ValueError("--aal-final and --aal-gammas both lower λ; give one of them")
        # Cooldown epochs and further cycles of the learning rate come after --epochs.
        course: Any = paper_course(args.epochs, args.aal_final)
    else:
        if args.aal_gammas is None and args.aal_milestones is None:
            args.aal_gammas, args.aal_milestones = [0.99, 0.98], [200]
        args.aal_milestones = args.aal_milestones or []
        course = args.aal_gammas or [], args.aal_milestones
    distill = given(args, "distill")
    if args.aal_distill is None and distill != dict(token=False):
        raise ValueError("--aal-distill is missing; choose soft or hard, or drop its options")
    others = ("final", "kept_maps", "views", "views_seed")
    return dict(
        {name: value for name, value in given(args).items() if name not in others},
        gammas=course[0],
        milestones=course[1],
        links=parse_links(args.aal_links),
        attention_layers=parse_attention_layers(args.aal_attention_layers),
        distill=None if args.aal_distill is None else Distillation(**distill),
        guidance=given(args, "guidance") or None,
    )


def parse_links(text: str) -> str | list[tuple[int, ...]] | None:
    """'1-3,1-5' → [(1, 3), (1, 5)], 'none' → None; other words are returned as they are."""
    if not re.fullmatch(r"\d+-\d+(,\d+-\d+)*", text):
        return None if text == "none" else text
    return [tuple(map(int, pair.split("-"))) for pair in text.split(",")]


def parse_attention_layers(words: list[str] | None) -> AttentionLayers | None:
    """['body.*.attn', 'num_prefix_tokens=1'] → the dict that `reader_by_name` reads."""
    if not words:
        return None
    settings = (word.split("=", 1) for word in words if "=" in word)
    names = [word for word in words if "=" not in word]
    return dict({key: yaml.safe_load(value) for key, value in settings}, attention=names)
