"""The options that tools/timm_train.py adds to those of train.py, and errors in their names."""

from __future__ import annotations

import os
import re
import sys
import time
from argparse import ArgumentParser, Namespace
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from aal_plugin.core.layer_names import near_names
from aal_plugin.process import STATUS


def _value(metavar: str, words: str, **argparse: Any) -> dict[str, Any]:
    return dict(metavar=metavar, help=words, **argparse)


def _flag(words: str) -> dict[str, Any]:
    return dict(action="store_true", help=words)


# Settings under the names in their errors: `teacher.` of TimmTeacher, `distill.` of Distillation,
# the others of AttentionLinkTask. Each option is named after its setting, see OPTIONS.
SETTINGS: dict[str, dict[str, Any]] = {
    "teacher.model_name": _value("NAME", "timm CNN to learn from, such as efficientnet_b3"),
    "teacher.pretrained": _flag("load timm's weights of that name"),
    "teacher.checkpoint": _value("FILE", "load the teacher's weights from a file"),
    "teacher.allow_random_weights": _flag("for a trial: a teacher without weights"),
    "teacher.num_classes": _value("N", "number of classes in the teacher's checkpoint", type=int),
    "teacher.image_size": _value("P", "side of the images that the teacher receives", type=int),
    "teacher.image_channels": _value(
        "N", "channels of the images that the teacher receives, from 1", type=int, nargs="+"
    ),
    "teacher.layers": _value(
        "MODULE", "modules whose outputs are the teacher's levels (default: its stages)", nargs="+"
    ),
    "link_head.links": _value(
        "LINKS",
        "full (default), alpha (for small data sets), beta, one first-last pair of blocks for each "
        "teacher level, such as 1-3,1-5,3-6, or none",
        default="full",
    ),
    "loss_weight": _value("W", "λ at epoch 0 (default: 2000)", type=float, default=2000.0),
    "gammas": _value(
        "G",
        "λ is multiplied by this every epoch; one value for each stretch between milestones "
        "(default: 0.99 0.98, with milestone 200)",
        type=float,
        nargs="+",
    ),
    "milestones": _value("EPOCH", "epochs from which the next gamma applies", type=int, nargs="+"),
    "final": _value(
        "S",
        "instead of gammas: λ ends at this share of its start, along the paper's course "
        "stretched over --epochs (the paper's own share is 0.0178)",
        type=float,
    ),
    "start_epoch": _value("EPOCH", "λ is 0 before this epoch", type=int, default=0),
    "warmup_epochs": _value("N", "λ rises over N epochs from the start on", type=int, default=0),
    "stop_epoch": _value("EPOCH", "λ is 0 from this epoch on", type=int),
    "map_size": _value(
        "P", "side of the grid on which maps are compared (default: the patch grid)", type=int
    ),
    "antialias": _flag("smooth teacher maps before they are made smaller"),
    "attention_layers": _value(
        "NAME",
        "for a ViT that AAL does not know: names of its attention modules, such as "
        "'body.*.attn'; also patch_embed=NAME, num_prefix_tokens=N, class_token=true|false",
        nargs="+",
    ),
    "guidance.weight": _value(
        "W", "locality guidance beside the links: its weight (the published one is 2.5)", type=float
    ),
    "guidance.blocks": _value(
        "N", "the student's guided blocks, from 1 (default: evenly spaced)", type=int, nargs="+"
    ),
    "guidance.levels": _value(
        "N",
        "a teacher level for each of them, from 1 (default: evenly spaced)",
        type=int,
        nargs="+",
    ),
    "kept_maps": _value("DIR", "compute the teacher's maps of each view once, keep them here"),
    "views": _value(
        "K", "show K fixed views of each image in turn (default: 16 with kept maps)", type=int
    ),
    "views_seed": _value("N", "another seed gives other views (default: 0)", type=int, default=0),
    "distill.kind": _value("KIND", "soft or hard: also learn the teacher's logits"),
    "distill.token": _flag("the distillation token learns them, as in DeiT"),
    "distill.loss_weight": _value(
        "W",
        "weight of the distillation loss; the task loss gets 1 - W "
        "(default: 0.1 for soft, 0.5 for hard)",
        type=float,
    ),
    "distill.temperature": _value("T", "τ of soft (default: 3)", type=float),
    "distill.reduction": _value(
        "R", "of soft: batch (default) divides by the batch, elements by batch times classes"
    ),
}
_SHORTER = {
    "teacher.model_name": "--aal-teacher",
    "teacher.allow_random_weights": "--aal-random-teacher",
    "link_head.links": "--aal-links",
    "guidance.weight": "--aal-guidance",
    "distill.kind": "--aal-distill",
}
OPTIONS = {key: _SHORTER.get(key, "--aal-" + re.sub(r"[._]", "-", key)) for key in SETTINGS}
_PATIENCE = 20.0  # seconds, for a mistake of one rank alone
# In an error: `key=` before a value, or the key alone where no common word has its form.
_IN_ERRORS = re.compile(
    rf"(?<![\w.-])({'|'.join(map(re.escape, sorted(SETTINGS, key=len, reverse=True)))})"
    r"(?:=(True|False)|(=)|(?![\w=-]))"
)


def add_options(parser: ArgumentParser) -> None:
    """Add AAL's options in a group of their own."""
    group = parser.add_argument_group("AAL", "attention links from the ViT to a frozen CNN")
    for key, words in SETTINGS.items():
        group.add_argument(OPTIONS[key], **words)


def given(args: Namespace, group: str = "") -> dict[str, Any]:
    """The settings of a group, such as 'teacher', that have a value in the options."""
    settings = {}
    for key, option in OPTIONS.items():
        owner, _, name = key.rpartition(".")
        value = getattr(args, option[2:].replace("-", "_"), None)  # an args.yaml may lack one
        if owner == group and value is not None:
            settings[name] = value
    return settings


def check_names(args: Namespace, unknown: Iterable[str]) -> None:
    """Check that all that is meant for AAL is an option, also in a file of --config.

    Args:
        unknown: words of the command line that the parser does not know.

    Raises:
        ValueError: names what is no option, and near names.
    """
    words = [word.partition("=")[0] for word in unknown if word.startswith("--aal")]
    words += ["--" + name.replace("_", "-") for name in sorted(vars(args)) if name[:4] == "aal_"]
    for word in words:
        if word not in OPTIONS.values():
            near = near_names(word, OPTIONS.values())
            raise ValueError(f"{word} is not an option; near names: {near}")


@contextmanager
def errors_in_options() -> Iterator[None]:
    """Tell an error in one line, in which settings have the names of options, and end the process.

    Without argparse's usage, because that of train.py is longer than a screen.
    """
    try:
        yield
    except (OSError, ValueError) as error:
        let_the_first_rank_tell()
        print(f"{Path(sys.argv[0]).name}: error: {in_options(error)}", file=sys.stderr)
        raise SystemExit(STATUS) from error


def let_the_first_rank_tell() -> None:
    """Wait in other ranks: they have the same mistake, and torchrun ends them with the first."""
    if int(os.environ.get("LOCAL_RANK", 0)):
        time.sleep(_PATIENCE)


def in_options(error: Exception) -> str:
    """The message of an error, with the names of options instead of settings."""

    def option(found: re.Match) -> str:
        key, flag, value = found.groups()
        if not (flag or value or "." in key or "_" in key):
            return found[0]  # a word of the sentence, such as 'milestones'
        return ("no " if flag == "False" else "") + OPTIONS[key] + (" " if value else "")

    return _IN_ERRORS.sub(option, str(error))
