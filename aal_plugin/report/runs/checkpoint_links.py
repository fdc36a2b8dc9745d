"""Link strengths from checkpoints, where no hook recorded them epoch by epoch."""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path

import numpy as np

from aal_plugin.analysis.links import link_strength
from aal_plugin.saved_links import read_links


def links_of_checkpoints(files: Iterable[Path], pattern: str, first: int) -> dict[int, np.ndarray]:
    """Strengths (levels, blocks) by epoch, of every checkpoint that holds links.

    Args:
        files: checkpoints of one run, of MMEngine or timm.
        pattern: regular expression for the file name; its group is the epoch's number.
        first: number of the first epoch in these names; epochs count from 1 here.
    """
    numbered = {
        int(found.group(1)) + 1 - first: path
        for path in files
        if (found := re.fullmatch(pattern, path.name))
    }
    strengths = {}
    for epoch, path in sorted(numbered.items()):
        try:
            strengths[epoch] = link_strength(*read_links(str(path)))
        except ValueError:  # trained without links
            return {}
    return strengths
