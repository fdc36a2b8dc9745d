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

# The metavar, help and default of each option; without a metavar it is a flag, "..." are several
# values. Settings have the names of their errors: `teacher.` of TimmTeacher, `distill.` of
# Distillation, the others of AttentionLinkTask. Options are named after them, see OPTIONS.
SETTINGS: dict[str, tuple] = {
    "teacher.model_name": ("NAME", "timm CNN to learn from, such as efficientnet_b3"),
    "teacher.pretrained": ("", "load timm's weights of that name"),
    "teacher.checkpoint": ("FILE", "load the teacher's weights from a file"),
    "teacher.allow_random_weights": ("", "for a trial: a teacher without weights"),
    "teacher.num_classes": ("N", "number of classes in the teacher's checkpoint"),
    "teacher.image_size": ("P", "side of the teacher's images (default: as the student's)"),
    "teacher.image_channels": ("N ...", "channels that the teacher receives, from 1"),
    "teacher.layers": ("MODULE ...", "modules that are its levels (default: its stages)"),
    "link_head.links": (
        "LINKS",
        "full (default), alpha (for small data sets), beta, one first-last pair of blocks for each "
        "teacher level, such as 1-3,1-5,3-6, or none",
        "full",
    ),
    "loss_weight": ("W", "λ at epoch 0 (default: 2000)", 2000.0),
    "gammas": (
        "G ...",
        "λ is multiplied by this every epoch; one value for each stretch between milestones "
        "(default: 0.99 0.98, with milestone 200)",
    ),
    "milestones": ("EPOCH ...", "epochs from which the next gamma applies"),
    "final": (
        "S",
        "instead of gammas: λ ends at this share of its start, along the paper's course "
        "stretched over --epochs (the paper's own share is 0.0178)",
    ),
    "start_epoch": ("EPOCH", "λ is 0 before this epoch", 0),
    "warmup_epochs": ("N", "λ rises over N epochs from the start epoch on (default: 0)", 0),
    "stop_epoch": ("EPOCH", "λ is 0 from this epoch on"),
    "map_size": ("P", "side of the grid on which maps are compared (default: the patch grid)"),
    "antialias": ("", "smooth teacher maps before they are made smaller"),
    "attention_layers": (
        "NAME ...",
        "for a ViT that AAL does not know: names of its attention modules, such as "
        "'body.*.attn'; also patch_embed=NAME, num_prefix_tokens=N, class_token=true|false",
    ),
    "guidance.weight": ("W", "locality guidance: its weight (the published one is 2.5)"),
    "guidance.blocks": ("N ...", "the guided blocks, from 1 (default: evenly spaced)"),
    "guidance.levels": ("N ...", "the teacher's level for each of them, from 1"),
    "kept_maps": ("DIR", "compute the teacher's maps of each view once, keep and read them here"),
    "views": ("K", "show K fixed views of each image in turn (default: 16 with kept maps)"),
    "views_seed": ("N", "another seed gives other views (default: 0)", 0),
    "distill.kind": ("KIND", "soft or hard: also learn the teacher's logits"),
    "distill.token": ("", "the distillation token learns them, as in DeiT"),
    "distill.loss_weight": ("W", "weight of this loss, 1 - W is the label's (soft 0.1, hard 0.5)"),
    "distill.temperature": ("T", "τ of soft (default: 3)"),
    "distill.reduction": (
        "R",
        "for soft: 'batch' (default) divides by the batch, as in the paper; 'elements' divides by "
        "batch times classes, as DeiT's published code does",
    ),
}
_TYPES = dict.fromkeys(("N", "P", "K", "EPOCH"), int) | dict.fromkeys(("W", "G", "S", "T"), float)
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
    for key, (metavar, words, *default) in SETTINGS.items():
        metavar, several, _ = metavar.partition(" ...")
        if not metavar:
            group.add_argument(OPTIONS[key], action="store_true", help=words)
            continue
        settings: dict[str, Any] = dict(nargs="+") if several else {}
        settings.update(type=_TYPES.get(metavar, str), default=default[0] if default else None)
        group.add_argument(OPTIONS[key], metavar=metavar, help=words, **settings)


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
    """Raise ValueError for what is meant for AAL and is no option, also in a file of --config.

    Args:
        unknown: words of the command line that the parser does not know.
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
