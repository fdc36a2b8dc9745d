"""`write_report`: from work dirs to the page."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from datetime import datetime
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined

import aal_plugin
from aal_plugin.core.settings import check_whole
from aal_plugin.files import write_whole

from . import tables
from .checks import CHECKS, warnings_of
from .pictures import SIGNS, Sheets, curve_charts, link_heatmaps, sheets_of
from .runs import Groups, how_many, read_groups


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
    """
    check_whole("images", images, 0)
    groups = read_groups(work_dirs)
    sheets = {name: sheets_of(runs[0], images) for name, runs in groups.items()} if images else {}
    template = Environment(
        loader=FileSystemLoader(Path(__file__).parent), autoescape=True, trim_blocks=True,
        lstrip_blocks=True, undefined=StrictUndefined,
    ).get_template("page.html")  # fmt: skip
    page = template.render(
        title=title,
        version=aal_plugin.__version__,
        when=datetime.now().strftime("%Y-%m-%d %H:%M"),
        how_many=how_many(groups),
        groups=groups,
        runs=[run for same in groups.values() for run in same],
        findings=_findings(groups, sheets),
        checks=len(CHECKS),
        charts=curve_charts(groups),
        signs=SIGNS,
        links=link_heatmaps(groups),
        sheets=sheets,
        tables=tables,
    )
    Path(out).parent.mkdir(parents=True, exist_ok=True)
    write_whole(Path(out), page)
    return groups


def _findings(groups: Groups, sheets: Mapping[str, Sheets]) -> list[tuple[str, str]]:
    """(where, warning); a warning that several runs of a group share appears once."""
    found = []
    for name, runs in groups.items():
        folders_by_text: dict[str, list[str]] = {}
        for run in runs:
            dead = sheets[name].dead_levels if sheets and run is runs[0] else ()
            for text in warnings_of(run, dead):
                folders_by_text.setdefault(text, []).append(run.folder.name)
        for text, folders in folders_by_text.items():
            some = f"{name}: {', '.join(folders)}"
            found.append((some if len(folders) < len(runs) else name, text))
    return found
