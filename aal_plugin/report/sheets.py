"""Attention sheets of a group's first run: pictures, their texts, and dead teacher levels."""

from __future__ import annotations

import base64
import io
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from .runs import RecordedRun

if TYPE_CHECKING:
    from torch import Tensor

    from aal_plugin.analysis.attention_sheet import Pair
    from aal_plugin.analysis.shown import Shown

_BLOCKS = 4  # of the student, evenly spread
_CHANNELS = 3  # teacher maps of a level
# What a run's folder needs: the checkpoint, and what says how the run was made.
_FILES = {
    "MMPretrain": ("epoch_*.pth", "config (*/vis_data/config.py)"),
    "timm": ("last.pth.tar", "args.yaml"),
}
_FLAT = 1e-8  # range of a constant map


@dataclass
class Sheets:
    """Sheets of one run, or why there are none."""

    pictures: list[tuple[str, str, str]] = field(default_factory=list)  # title, text, base64 PNG
    dead_levels: tuple[int, ...] = ()
    missing: str = ""


def sheets_of(run: RecordedRun, count: int) -> Sheets:
    """Sheets for the first `count` validation images, from the run's newest checkpoint."""
    kind, config = _FILES[run.front_end]
    if run.checkpoint is None:
        return Sheets(missing=f"The folder holds no checkpoint ({kind}).")
    if run.config_file is None:
        return Sheets(missing=f"The folder holds no {config}.")
    try:
        return _drawn(run, count)
    except Exception as error:  # a part of the page; what goes wrong is shown in its place
        reason = str(error).split(";")[0]  # after it, some errors list what AAL can read
        if unknown := re.match(r"backbone (\w+): AAL does not know how to read", reason):
            return Sheets(missing=f"{unknown[1]} has no attention to show, as a CNN has none.")
        return Sheets(missing=f"The sheets could not be drawn: {reason}.")


def _drawn(run: RecordedRun, count: int) -> Sheets:
    reader: Any
    if run.front_end == "timm":
        from aal_plugin.timm.attention_maps import TimmAttentionReader

        reader = TimmAttentionReader(str(run.config_file), str(run.checkpoint))
    else:
        from aal_plugin.mm.evaluation.attention_maps import AttentionReader  # slow to import

        reader = AttentionReader(str(run.config_file), str(run.checkpoint))
    total = len(reader.recorder.heads)
    blocks = sorted({round(b) for b in np.linspace(1, total, min(_BLOCKS, total))})
    pictures, alive, levels = [], set(), 0
    for shown in reader.dataset(count):
        pictures.append(_picture(shown, blocks))
        maps = shown.activations or []
        levels = len(maps)
        alive |= {level for level, own in enumerate(maps, start=1) if _varies(own)}
    return Sheets(pictures, tuple(sorted(set(range(1, levels + 1)) - alive)))


def _varies(maps: Tensor) -> bool:
    """Whether any of the maps (C, H, W) has more than one value; one pixel varies by being set."""
    lowest, highest = maps.float().flatten(1).aminmax(dim=1)
    if maps.shape[1] * maps.shape[2] == 1:
        return bool(highest.abs().max() > _FLAT)
    return bool((highest - lowest).max() > _FLAT)


def _picture(shown: Shown, blocks: list[int]) -> tuple[str, str, str]:
    from aal_plugin.analysis.attention_sheet import attention_sheet, strongest_pairs

    pairs: Sequence[Pair] = []
    if shown.augmented is not None and shown.activations is not None:
        pairs = strongest_pairs(shown.augmented, shown.activations, _CHANNELS)
    maps = [block.numpy() for block in shown.maps]
    box = None if shown.box is None else shown.box.tolist()
    png = io.BytesIO()
    attention_sheet(shown.image, maps, blocks, pairs, box).savefig(png, dpi=80, format="png")
    return shown.title, _text(blocks, pairs), base64.b64encode(png.getvalue()).decode()


def _text(blocks: list[int], pairs: Sequence[Pair]) -> str:
    """What the picture shows, for those who do not see it."""
    text = f"The image and the attention of every head of blocks {', '.join(map(str, blocks))}."
    if not pairs:
        return text
    by_level: dict[int, list[float]] = {}
    for pair in pairs:
        by_level.setdefault(pair.level, []).append(pair.cosine)
    means = ", ".join(f"{np.mean(v):.2f} at level {level}" for level, v in by_level.items())
    return f"{text} Below, teacher maps beside the student's augmented maps; mean cosine {means}."
