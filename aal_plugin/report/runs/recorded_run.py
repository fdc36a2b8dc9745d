"""`RecordedRun`: what the files of one training run say."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from aal_plugin.analysis.runs import Curve

# Keys of `RecordedRun.curves`, the same for both front ends.
TOP1 = "accuracy/top1"
TEACHER_TOP1 = "accuracy/teacher_top1"
LOSS = "loss"  # of the labels alone
LOSS_WITH_LINKS = "loss_with_links"  # timm logs the sum
LINK_DISTANCE = "link_distance"
LINK_WEIGHT = "link_weight"


@dataclass
class RecordedRun:
    """One run, read from its work dir.

    Attributes:
        folder: the work dir.
        front_end: 'MMPretrain' or 'timm'.
        settings: the config or the options, as plain values.
        curves: logged numbers by key; epochs count from 1.
        unit: 'epoch' or 'iteration', what the curves run over.
        facts: what was trained on what, in words, by label.
        versions: of the software, by name; empty where the run recorded none.
        seed: the random seed, or None.
        planned: length that the settings ask for, in `unit`s, or None.
        steps: training steps that were logged, or None.
        batch_size: images of a step on one rank, or None.
        links: link strengths (levels, blocks) by epoch; NaN where there is no link.
        links_from: file that the links come from, in words.
        teacher_own_top1: best top-1 (%) in the teacher's own log, or None.
        checkpoint: newest checkpoint, or None.
        config_file: config that rebuilds the model, or None.
        tested: results of tools/test.py, by metric.
        seconds: duration of the run on the clock, where it was recorded.
        scheduled: whether something sets λ over the epochs.
    """

    folder: Path
    front_end: str
    settings: dict[str, Any]
    curves: dict[str, Curve]
    unit: str
    facts: dict[str, str]
    versions: dict[str, str] = field(default_factory=dict)
    seed: int | None = None
    planned: int | None = None
    steps: int | None = None
    batch_size: int | None = None
    links: dict[int, np.ndarray] = field(default_factory=dict)
    links_from: str = ""
    teacher_own_top1: float | None = None
    checkpoint: Path | None = None
    config_file: Path | None = None
    tested: dict[str, float] = field(default_factory=dict)
    seconds: float | None = None
    scheduled: bool = True

    @property
    def linked(self) -> bool:
        """Whether the run trained attention links."""
        return LINK_WEIGHT in self.curves or LINK_DISTANCE in self.curves

    def last(self, key: str) -> float | None:
        """The last value of a curve, or None without one."""
        return float(self.curves[key][1][-1]) if key in self.curves else None

    def best(self, key: str) -> float | None:
        """The highest value of a curve, or None without one."""
        return float(np.nanmax(self.curves[key][1])) if key in self.curves else None
