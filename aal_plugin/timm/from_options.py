"""What the options of tools/timm_train.py stand for: a teacher, and the settings of the task."""

from __future__ import annotations

import re
from argparse import Namespace
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
import yaml

from aal_plugin.checkpoint_file import check_checkpoint
from aal_plugin.core import TimmTeacher, paper_course
from aal_plugin.core.student.by_name import AttentionLayers

from .distillation import Distillation
from .options import given

# Options of train.py, and what to do instead.
_NOT_WITH_AAL = dict(
    kd_model_name="learn the teacher's logits with --aal-distill",
    naflex_loader="drop it",
    torchscript="drop it",
)
_FILES = ("resume", "initial_checkpoint", "pretrained_path", "aal_teacher_checkpoint")


def check_files(args: Namespace) -> None:
    """Check that the checkpoints of the options are whole; torch reads a flipped bit in silence.

    Raises:
        FileNotFoundError, ValueError: a file is missing, cut short or damaged.
    """
    for name in _FILES:
        path = getattr(args, name, None)
        # timm finds the file of --resume auto itself, and reads JAX weights from NumPy's files.
        if path and path != "auto" and Path(path).suffix not in (".npz", ".npy"):
            try:
                check_checkpoint(path)
            except (FileNotFoundError, ValueError) as error:
                raise type(error)(f"--{name.replace('_', '-')}: {error}") from error


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
        ValueError: options that contradict each other or cannot be read.
    """
    for name, instead in _NOT_WITH_AAL.items():
        if getattr(args, name, None):
            raise ValueError(f"--{name.replace('_', '-')} does not go with AAL; {instead}")
    gammas, milestones = _course(args)
    settings = given(args) | dict(gammas=gammas, milestones=milestones)
    for name in ("final", "kept_maps", "views", "views_seed"):
        settings.pop(name, None)
    return dict(
        settings,
        links=parse_links(args.aal_links),
        attention_layers=parse_attention_layers(args.aal_attention_layers),
        distill=_distillation(args),
        guidance=given(args, "guidance") or None,
    )


def _course(args: Namespace) -> tuple[Sequence[float], Sequence[int]]:
    """How λ decays: the gammas and milestones that the options give or stand for."""
    if args.aal_final is not None:
        if args.aal_gammas is not None or args.aal_milestones is not None:
            raise ValueError("--aal-final and --aal-gammas both lower λ; give one of them")
        # Cooldown epochs and further cycles of the learning rate come after --epochs.
        return paper_course(args.epochs, args.aal_final)
    if args.aal_gammas is None:
        if args.aal_milestones is not None:
            raise ValueError(
                f"--aal-milestones {args.aal_milestones} without --aal-gammas; give both"
            )
        args.aal_gammas, args.aal_milestones = [0.99, 0.98], [200]
    elif args.aal_milestones is None:
        args.aal_milestones = []
    return args.aal_gammas, args.aal_milestones


def parse_links(text: str) -> str | list[tuple[int, int]] | None:
    """'1-3,1-5' → [(1, 3), (1, 5)], 'none' → None; other words are returned as they are."""
    if text == "none":
        return None
    if not re.fullmatch(r"\d+-\d+(,\d+-\d+)*", text):
        return text
    return [(int(first), int(last)) for first, last in re.findall(r"(\d+)-(\d+)", text)]


def parse_attention_layers(words: list[str] | None) -> AttentionLayers | None:
    """['body.*.attn', 'num_prefix_tokens=1'] → the dict that `reader_by_name` reads."""
    if not words:
        return None
    settings: dict[str, Any] = dict(attention=[word for word in words if "=" not in word])
    for key, _, text in (word.partition("=") for word in words if "=" in word):
        value = yaml.safe_load(text)
        kinds = dict(patch_embed=str, num_prefix_tokens=int, class_token=bool)
        if type(value) is not kinds.get(key):
            raise ValueError(
                f"--aal-attention-layers {key}={text}; choose patch_embed=NAME, "
                "num_prefix_tokens=N (a whole number) or class_token=true|false"
            )
        settings[key] = value
    return settings


def _distillation(args: Namespace) -> Distillation | None:
    settings = given(args, "distill")
    if args.aal_distill is not None:
        return Distillation(**settings)
    if settings != dict(token=False):
        raise ValueError("--aal-distill is missing; choose soft or hard, or drop its options")
    return None
