"""What the options of tools/timm_train.py stand for: a teacher, and the settings of the task."""

from __future__ import annotations

from argparse import ArgumentParser, Namespace
from collections.abc import Sequence
from typing import Any

import torch

from aal_plugin.core import TimmTeacher, check_schedule, link_ranges, paper_course
from aal_plugin.core.student.by_name import AttentionLayers
from aal_plugin.core.teacher.weights import check_weights

from .attention_link_task import check_loss_weight
from .distillation import Distillation
from .options import add_options


def check_options(args: Namespace) -> None:
    """Fill in the defaults that depend on others.

    Raises:
        ValueError: options that are unknown, missing, contradictory or out of range.
    """
    _check_names(args)
    if not args.aal_teacher:
        raise ValueError("--aal-teacher is missing; give a timm model, such as efficientnet_b3")
    check_weights(args.aal_teacher_pretrained, args.aal_teacher_checkpoint, args.aal_random_teacher)
    if args.aal_random_teacher and (args.aal_teacher_pretrained or args.aal_teacher_checkpoint):
        raise ValueError("--aal-random-teacher, but weights are given as well; drop one of the two")
    if args.aal_final is None and args.aal_gammas is None and args.aal_milestones is None:
        args.aal_gammas, args.aal_milestones = [0.99, 0.98], [200]
    elif args.aal_gammas is not None and args.aal_milestones is None:
        args.aal_milestones = []
    gammas, milestones = _course(args)
    check_schedule(
        gammas, milestones, args.aal_stop_epoch, args.aal_start_epoch, args.aal_warmup_epochs
    )
    check_loss_weight(args.aal_loss_weight)
    links = parse_links(args.aal_links)
    if isinstance(links, str):
        link_ranges(links, num_levels=1, num_blocks=1)  # raises for an unknown name
    parse_attention_layers(args.aal_attention_layers)
    _distillation(args)
    for other in ("kd_model_name", "naflex_loader", "torchscript"):
        if getattr(args, other, None):
            raise ValueError(
                f"--{other.replace('_', '-')} does not go with AAL; "
                + ("learn the teacher's logits with --aal-distill" if "kd" in other else "drop it")
            )


def _course(args: Namespace) -> tuple[Sequence[float], Sequence[int]]:
    """How λ decays: the gammas and milestones that the options give or stand for."""
    if args.aal_final is not None:
        if args.aal_gammas is not None or args.aal_milestones is not None:
            raise ValueError("--aal-final and --aal-gammas both lower λ; give one of them")
        return paper_course(args.epochs, args.aal_final)
    if args.aal_gammas is None:
        raise ValueError(f"--aal-milestones {args.aal_milestones} without --aal-gammas; give both")
    return args.aal_gammas, args.aal_milestones


def _check_names(args: Namespace) -> None:
    """Raise ValueError for options that AAL does not have; a --config file can set any."""
    known = ArgumentParser()
    add_options(known)
    for name in sorted(set(vars(args)) - set(vars(known.parse_args([])))):
        option = "--" + name.replace("_", "-")
        if name.startswith("aal_"):
            raise ValueError(f"{option} is not an option; --help lists AAL's options")


def parse_links(text: str) -> str | list[tuple[int, int]]:
    """'1-3,1-5' → [(1, 3), (1, 5)]; a name is returned as it is."""
    if not text[:1].isdigit():
        return text
    pairs = [pair.split("-") for pair in text.split(",")]
    if not all(len(pair) == 2 and all(side.isdigit() for side in pair) for pair in pairs):
        raise ValueError(
            f"--aal-links {text!r}; choose 'full', 'alpha', 'beta' or one first-last pair of "
            "blocks for each teacher level, such as 1-3,1-5,3-6"
        )
    return [(int(first), int(last)) for first, last in pairs]


def parse_attention_layers(words: list[str] | None) -> AttentionLayers | None:
    """['body.*.attn', 'num_prefix_tokens=1'] → the dict that `reader_by_name` reads."""
    if not words:
        return None
    settings: dict[str, Any] = dict(attention=[word for word in words if "=" not in word])
    for key, _, value in (word.partition("=") for word in words if "=" in word):
        if key == "num_prefix_tokens" and value.isdigit():
            settings[key] = int(value)
        elif key == "class_token" and value.lower() in ("true", "false"):
            settings[key] = value.lower() == "true"
        elif key == "patch_embed" and value:
            settings[key] = value
        else:
            raise ValueError(
                f"--aal-attention-layers {key}={value}; choose patch_embed=NAME, "
                "num_prefix_tokens=N (a whole number) or class_token=true|false"
            )
    if not settings["attention"]:
        raise ValueError(
            "--aal-attention-layers names no attention module; give one, such as 'body.*.attn'"
        )
    return settings


def build_teacher(args: Namespace) -> TimmTeacher:
    """The teacher that the options name."""
    # A random stream of its own: every rank has the same teacher, and the run sees the same
    # batches as a run of the same seed without AAL.
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(getattr(args, "seed", 0))
        return TimmTeacher(
            args.aal_teacher,
            pretrained=args.aal_teacher_pretrained,
            checkpoint=args.aal_teacher_checkpoint,
            layers=args.aal_teacher_layers,
            image_size=args.aal_teacher_image_size,
            num_classes=args.aal_teacher_num_classes,
            allow_random_weights=args.aal_random_teacher,
        )


def task_settings(args: Namespace) -> dict[str, Any]:
    """The keyword arguments of `AttentionLinkTask` that the options stand for."""
    gammas, milestones = _course(args)
    return dict(
        links=parse_links(args.aal_links),
        loss_weight=args.aal_loss_weight,
        gammas=gammas,
        milestones=milestones,
        stop_epoch=args.aal_stop_epoch,
        start_epoch=args.aal_start_epoch,
        warmup_epochs=args.aal_warmup_epochs,
        map_size=args.aal_map_size,
        antialias=args.aal_antialias,
        attention_layers=parse_attention_layers(args.aal_attention_layers),
        distill=_distillation(args),
    )


def _distillation(args: Namespace) -> Distillation | None:
    options = dict(
        loss_weight=args.aal_distill_loss_weight,
        temperature=args.aal_distill_temperature,
        reduction=args.aal_distill_reduction,
    )
    given: dict[str, Any] = {key: value for key, value in options.items() if value is not None}
    if args.aal_distill is None:
        if given or args.aal_distill_token:
            raise ValueError("--aal-distill is missing; choose soft or hard, or drop its options")
        return None
    return Distillation(args.aal_distill, token=args.aal_distill_token, **given)
