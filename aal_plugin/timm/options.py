"""The options that tools/timm_train.py adds to those of train.py."""

from __future__ import annotations

import difflib
from argparse import ArgumentParser
from collections.abc import Iterable

# The names of settings in the errors of core and of the task, and the options that set them.
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
    "distill.loss_weight=": "--aal-distill-loss-weight ",
    "distill.temperature=": "--aal-distill-temperature ",
    "distill.reduction=": "--aal-distill-reduction ",
    "attention_layers": "--aal-attention-layers",
    "map_size=": "--aal-map-size ",
    "loss_weight=": "--aal-loss-weight ",
    "gammas=": "--aal-gammas ",
    "milestones=": "--aal-milestones ",
    "start_epoch=": "--aal-start-epoch ",
    "stop_epoch=": "--aal-stop-epoch ",
    "warmup_epochs=": "--aal-warmup-epochs ",
    "final=": "--aal-final ",
    "teacher.image_size=": "--aal-teacher-image-size ",
}


def in_options(error: Exception) -> str:
    """The message of an error, with the names of options instead of settings."""
    text = str(error)
    for setting, option in OPTION_NAMES.items():
        text = text.replace(setting, option)
    return text


def check_unknown(words: Iterable[str]) -> None:
    """Check that no option that train.py does not know is meant for AAL.

    Raises:
        ValueError: one begins with --aal; names it, and near names.
    """
    known = ArgumentParser(add_help=False)
    add_options(known)
    names = [name.removeprefix("--aal-") for name in known._option_string_actions]
    for word in words:
        option = word.partition("=")[0]
        if option.startswith("--aal"):
            near = difflib.get_close_matches(option.removeprefix("--aal-"), names, n=1)
            hint = f"did you mean --aal-{near[0]}?" if near else "--help lists AAL's options"
            raise ValueError(f"{option} is not an option; {hint}")


def add_options(parser: ArgumentParser) -> None:
    """Add AAL's options in a group of their own."""
    group = parser.add_argument_group("AAL", "attention links from the ViT to a frozen CNN")
    add = group.add_argument
    add("--aal-teacher", metavar="NAME", help="timm CNN to learn from, such as efficientnet_b3")
    add("--aal-teacher-pretrained", action="store_true", help="load timm's weights of that name")
    add("--aal-teacher-checkpoint", metavar="FILE", help="load the teacher's weights from a file")
    add(
        "--aal-teacher-image-size",
        type=int,
        metavar="P",
        help="resize images to P×P pixels for the teacher alone (default: as the student's)",
    )
    add("--aal-random-teacher", action="store_true", help="for a trial: a teacher without weights")
    add(
        "--aal-teacher-num-classes",
        type=int,
        metavar="N",
        help="number of classes in the teacher's checkpoint",
    )
    add(
        "--aal-teacher-layers",
        nargs="+",
        metavar="MODULE",
        help="modules whose outputs are the teacher's levels (default: its stages)",
    )
    add(
        "--aal-links",
        default="full",
        metavar="LINKS",
        help="full, alpha (for small data sets), beta, or one first-last pair of blocks for each "
        "teacher level, such as 1-3,1-5,3-6 (default: full)",
    )
    add(
        "--aal-loss-weight",
        type=float,
        default=2000.0,
        metavar="W",
        help="λ at epoch 0 (default: 2000)",
    )
    add(
        "--aal-gammas",
        type=float,
        nargs="+",
        metavar="G",
        help="λ is multiplied by this every epoch; one value for each stretch between milestones "
        "(default: 0.99 0.98, with milestone 200)",
    )
    add(
        "--aal-milestones",
        type=int,
        nargs="+",
        metavar="EPOCH",
        help="epochs from which the next gamma applies",
    )
    add(
        "--aal-final",
        type=float,
        metavar="S",
        help="instead of gammas: λ ends at this share of its start, along the paper's course "
        "stretched over --epochs (the paper's own share is 0.0178)",
    )
    add("--aal-start-epoch", type=int, default=0, metavar="EPOCH", help="λ is 0 before this epoch")
    add(
        "--aal-warmup-epochs",
        type=int,
        default=0,
        metavar="N",
        help="λ rises over N epochs from the start epoch on (default: 0)",
    )
    add("--aal-stop-epoch", type=int, metavar="EPOCH", help="λ is 0 from this epoch on")
    add(
        "--aal-map-size",
        type=int,
        metavar="P",
        help="side of the grid on which maps are compared (default: the student's patch grid)",
    )
    add(
        "--aal-antialias",
        action="store_true",
        help="smooth teacher maps before they are made smaller",
    )
    add(
        "--aal-attention-layers",
        nargs="+",
        metavar="NAME",
        help="for a ViT that AAL does not know: names of its attention modules, such as "
        "'body.*.attn'; also patch_embed=NAME, num_prefix_tokens=N, class_token=true|false",
    )
    add("--aal-distill", metavar="KIND", help="soft or hard: also learn the teacher's logits")
    add(
        "--aal-distill-token",
        action="store_true",
        help="the distillation token learns them, as in DeiT",
    )
    add(
        "--aal-distill-loss-weight",
        type=float,
        metavar="W",
        help="weight of the distillation loss; the task loss gets 1 - W "
        "(default: 0.1 for soft, 0.5 for hard)",
    )
    add("--aal-distill-temperature", type=float, metavar="T", help="τ of soft (default: 3)")
    add(
        "--aal-distill-reduction",
        metavar="R",
        help="for soft: 'batch' divides by the batch, as in the paper; 'elements' divides by "
        "batch times classes, as DeiT's published code does (default: batch)",
    )
