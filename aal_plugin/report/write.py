"""`write_report`: from work dirs to the page."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from aal_plugin.core.settings import check_whole
from aal_plugin.whole_files import write_whole

from .runs.checks import warnings_of
from .runs.reading import Groups, read_groups


def write_report(
    work_dirs: Sequence[str | os.PathLike],
    out: str | os.PathLike,
    images: int = 3,
    title: str = "AAL report",
) -> Groups:
    """Write one self-contained HTML page about training runs.

    Args:
        work_dirs: work dirs of MMPretrain, or output folders of timm's train.py; NAME=FOLDER names
            the group of a run. Runs that differ by their seed alone are one group.
        out: the page, such as report.html.
        images: validation images for which attention sheets are drawn, of the first run of each
            group. 0 draws none, and builds no model.
        title: heading of the page.

    Returns:
        The runs by the name of their group.

    Raises:
        ValueError: a folder holds no run; images is not a whole number of 0 or more.
        ImportError: Plotly is not installed.
    """
    check_whole("images", images, 0)
    try:
        from .page.attention_sheets import sheets_of
        from .page.document import document
    except ModuleNotFoundError as error:
        if error.name != "plotly":
            raise
        raise ImportError("the report needs Plotly: pip install plotly") from None
    groups = read_groups([os.fspath(folder) for folder in work_dirs])
    sheets = {name: sheets_of(runs[0], images) for name, runs in groups.items()} if images else {}
    found: dict[str, list[str]] = {}
    for name, runs in groups.items():
        for run in runs:
            dead = sheets[name].dead_levels if run is runs[0] and name in sheets else ()
            label = name if len(runs) == 1 else f"{name}: {run.folder.name}"
            found[label] = warnings_of(run, dead)
    page = Path(out)
    page.parent.mkdir(parents=True, exist_ok=True)
    write_whole(page, document(groups, found, sheets, title))
    return groups
