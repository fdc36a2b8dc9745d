"""The options that tools/timm_train.py adds to those of train.py, and what is built of them."""

from __future__ import annotations

from argparse import ArgumentParser, Namespace
from typing import Any

import torch

from aal_plugin.core import TimmTeacher, check_schedule, link_ranges
from aal_plugin.core.teacher.weights import check_weights

from .attention_link_task import check_loss_weight
from .distillation import Distillation

# What core's and the task's errors call a setting, and the option it comes from.
OPTION_NAMES = {
    "link_head.links": "--aal-links",
    "teacher.model_name=": "--aal-teacher ",
    "teacher.checkpoint=": "--aal-teacher-checkpoint ",
    "teacher.pretrained=True": "--aal-teacher-pretrained",
    "teacher.layers": "--aal-teacher-layers",
    "teacher.num_classes=": "--aal-teacher-num-classes ",
    "teacher.allow_random_weights=True": "--aal-random-teacher",
    "distill.kind=": "--aal-distill ",
    "distill.token=True": "--aal-distill-token",
    "distill.token=False": "no --aal-distill-token",
    "distill.share=": "--aal-distill-share ",
    "distill.temperature=": "--aal-distill-temperature ",
    "distill.reduction=": "--aal-distill-reduction ",
    "map_size=": "--aal-map-size ",
    "loss_weight=": "--aal-lambda ",
    "gammas=": "--aal-gammas ",
    "milestones=": "--aal-milestones ",
    "stop_epoch=": "--aal-stop-epoch ",
}


def in_options(error: Exception) -> str:
    """An error's words, with options in the place of settings."""
    text = str(error)
    for setting, option in OPTION_NAMES.items():
        text = text.replace(setting, option)
    return text


def add_options(parser: ArgumentParser) -> None:
    """Add AAL's options in a group of their own."""
    group = parser.add_argument_group("AAL", "attention links from the ViT to a frozen CNN")
    add = group.add_argument
    add("--aal-teacher", metavar="NAME", help="timm model that teaches, such as efficientnet_b3")
    add("--aal-teacher-pretrained", action="store_true", help="with timm's weights of that name")
    add("--aal-teacher-checkpoint", metavar="FILE", help="or with weights from a file")
    add("--aal-random-teacher", action="store_true", help="or, for trials, with none")
    add("--aal-teacher-num-classes", type=int, metavar="N", help="of the teacher's checkpoint")
    add(
        "--aal-teacher-layers", nargs="+", metavar="MODULE", help="its levels (default: its stages)"
    )
    add(
        "--aal-links",
        default="full",
        metavar="LINKS",
        help="full, alpha (small sets), beta, or one first-last pair of blocks for each level of "
        "the teacher, as 1-3,1-5,3-6 (default: full)",
    )
    add(
        "--aal-lambda", type=float, default=2000.0, metavar="W", help="λ at epoch 0 (default: 2000)"
    )
    add(
        "--aal-gammas",
        type=float,
        nargs="+",
        metavar="G",
        help="λ's decay per epoch, between milestones (default: 0.99 0.98, and milestone 200)",
    )
    add(
        "--aal-milestones",
        type=int,
        nargs="+",
        metavar="EPOCH",
        help="epochs at which the next gamma takes over",
    )
    add("--aal-stop-epoch", type=int, metavar="EPOCH", help="λ is 0 from this epoch on")
    add(
        "--aal-map-size",
        type=int,
        metavar="P",
        help="side of the grid on which maps are compared (default: the student's patch grid)",
    )
    add("--aal-antialias", action="store_true", help="smooth teacher maps before they shrink")
    add("--aal-distill", metavar="KIND", help="soft or hard: learn the teacher's logits as well")
    add("--aal-distill-token", action="store_true", help="with the distillation token, as in DeiT")
    add(
        "--aal-distill-share",
        type=float,
        metavar="S",
        help="share of the loss (default: 0.1 for soft, 0.5 for hard)",
    )
    add("--aal-distill-temperature", type=float, metavar="T", help="τ of soft (default: 3)")
    add(
        "--aal-distill-reduction",
        metavar="R",
        help="of soft: batch divides by the batch, as the paper has it; elements by batch times "
        "classes, as DeiT's published code does (default: batch)",
    )


def check_options(args: Namespace) -> None:
    """Fill in the defaults that depend on others.

    Raises:
        ValueError: options that are missing, contradict each other, or are out of range.
    """
    if not args.aal_teacher:
        raise ValueError("--aal-teacher is missing; give a timm model, such as efficientnet_b3")
    check_weights(args.aal_teacher_pretrained, args.aal_teacher_checkpoint, args.aal_random_teacher)
    if args.aal_random_teacher and (args.aal_teacher_pretrained or args.aal_teacher_checkpoint):
        raise ValueError("--aal-random-teacher, but weights are given as well; drop one of the two")
    if args.aal_gammas is None and args.aal_milestones is None:
        args.aal_gammas, args.aal_milestones = [0.99, 0.98], [200]
    if args.aal_gammas is None:
        raise ValueError(f"--aal-milestones {args.aal_milestones} without --aal-gammas; give both")
    args.aal_milestones = args.aal_milestones or []
    check_schedule(args.aal_gammas, args.aal_milestones, args.aal_stop_epoch)
    check_loss_weight(args.aal_lambda)
    links = parse_links(args.aal_links)
    if isinstance(links, str):
        link_ranges(links, num_levels=1, num_blocks=1)  # a known name?
    _distillation(args)
    for other in ("kd_model_name", "naflex_loader", "torchscript"):
        if getattr(args, other, None):
            raise ValueError(
                f"--{other.replace('_', '-')} does not go with AAL; "
                + ("learn the teacher's logits with --aal-distill" if "kd" in other else "drop it")
            )


def parse_links(text: str) -> str | list[tuple[int, ...]]:
    """'1-3,1-5' → [(1, 3), (1, 5)]; a name stays one."""
    if not text[:1].isdigit():
        return text
    pairs = [pair.split("-") for pair in text.split(",")]
    if not all(len(pair) == 2 and all(side.isdigit() for side in pair) for pair in pairs):
        raise ValueError(
            f"--aal-links {text!r}; choose 'full', 'alpha', 'beta' or one first-last pair of "
            "blocks for each level of the teacher, as 1-3,1-5,3-6"
        )
    return [tuple(map(int, pair)) for pair in pairs]


def build_teacher(args: Namespace) -> TimmTeacher:
    """The teacher that the options name."""
    # Its random numbers are its own: every rank has the same teacher, and the run sees the
    # batches of the same seed without AAL.
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(getattr(args, "seed", 0))
        return TimmTeacher(
            args.aal_teacher,
            pretrained=args.aal_teacher_pretrained,
            checkpoint=args.aal_teacher_checkpoint,
            layers=args.aal_teacher_layers,
            num_classes=args.aal_teacher_num_classes,
            allow_random_weights=args.aal_random_teacher,
        )


def task_settings(args: Namespace) -> dict[str, Any]:
    """The keyword arguments of `AttentionLinkTask` that the options stand for."""
    return dict(
        links=parse_links(args.aal_links),
        loss_weight=args.aal_lambda,
        gammas=args.aal_gammas,
        milestones=args.aal_milestones,
        stop_epoch=args.aal_stop_epoch,
        map_size=args.aal_map_size,
        antialias=args.aal_antialias,
        distill=_distillation(args),
    )


def _distillation(args: Namespace) -> Distillation | None:
    given = dict(
        share=args.aal_distill_share,
        temperature=args.aal_distill_temperature,
        reduction=args.aal_distill_reduction,
    )
    given = {key: value for key, value in given.items() if value is not None}
    if args.aal_distill is None:
        if given or args.aal_distill_token:
            raise ValueError("--aal-distill is missing; choose soft or hard, or drop its options")
        return None
    return Distillation(args.aal_distill, token=args.aal_distill_token, **given)
