"""`write_report`: from work dirs to the page."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import aal_plugin
from aal_plugin.core.settings import check_whole
from aal_plugin.files import write_whole

from .checks import CHECKS, warnings_of
from .runs import Groups, how_many, read_groups

if TYPE_CHECKING:
    from .sheets import Sheets


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
        import plotly  # noqa: F401
    except ModuleNotFoundError:
        raise ImportError("the report needs Plotly: pip install plotly") from None
    from .sheets import sheets_of

    groups = read_groups(work_dirs)
    sheets = {name: sheets_of(runs[0], images) for name, runs in groups.items()} if images else {}
    page = Path(out)
    page.parent.mkdir(parents=True, exist_ok=True)
    write_whole(page, _page(groups, sheets, title))
    return groups


def _page(groups: Groups, sheets: Mapping[str, Sheets], title: str) -> str:
    from jinja2 import Environment, FileSystemLoader, StrictUndefined
    from plotly.offline import get_plotlyjs

    from . import figures, tables

    folder = FileSystemLoader(Path(__file__).parent)
    template = Environment(
        loader=folder, autoescape=True, trim_blocks=True, lstrip_blocks=True,
        undefined=StrictUndefined,
    ).get_template("page.html")  # fmt: skip
    return template.render(
        title=title,
        version=aal_plugin.__version__,
        when=datetime.now().strftime("%Y-%m-%d %H:%M"),
        how_many=how_many(groups),
        plotly=get_plotlyjs(),
        groups=groups,
        runs=[run for same in groups.values() for run in same],
        findings=_findings(groups, sheets),
        checks=len(CHECKS),
        panels=figures.curve_panels(groups),
        dashes=figures.DASHES,
        links=figures.link_charts(groups),
        sheets=sheets,
        tables=tables,
        script_json=_script_json,
    )


def _script_json(value: Any) -> str:
    """JSON inside a script element, where '<' could end the element or open a comment."""
    text = json.dumps(value) if isinstance(value, (list, dict)) else value.to_json()
    return text.replace("<", "\\u003c")


def _findings(groups: Groups, sheets: Mapping[str, Sheets]) -> list[tuple[str, str]]:
    """(where, warning); a warning that several runs of a group share appears once."""
    found = []
    for name, runs in groups.items():
        runs_by_text: dict[str, list[str]] = {}
        for run in runs:
            drawn = sheets.get(name) if run is runs[0] else None
            for text in warnings_of(run, drawn.dead_levels if drawn else ()):
                runs_by_text.setdefault(text, []).append(run.folder.name)
        for text, folders in runs_by_text.items():
            some = len(folders) < len(runs)
            found.append((f"{name}: {', '.join(folders)}" if some else name, text))
    return found
