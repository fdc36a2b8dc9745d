"""The page: sections around figures and tables, with style, script and Plotly inside."""

from __future__ import annotations

import base64
import html
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path

import plotly.graph_objects as go
from plotly.offline import get_plotlyjs

import aal_plugin
from aal_plugin.report.runs.checks import CHECKS
from aal_plugin.report.runs.reading import Groups, how_many

from .attention_sheets import Sheets
from .curves import DASHES, Panel, curve_panels
from .link_heatmaps import link_figure, linked_runs
from .tables import cost_table, facts_table, localization_table, numbers_table, results_table

# The page may run its own script and show its own pictures, and can fetch nothing.
_POLICY = (
    "default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'; img-src data: blob:"
)
_HERE = Path(__file__).parent
_DASH_ARRAY = dict(solid="", dash="7 4", dot="2 3", dashdot="7 3 2 3", longdash="11 4")


def document(
    groups: Groups, found: Sequence[tuple[str, str]], sheets: dict[str, Sheets], title: str
) -> str:
    """The whole page.

    Args:
        groups: the runs by the name of their group.
        found: (where, warning) pairs.
        sheets: attention sheets by the name of the group.
        title: heading of the page.
    """
    sections = (
        ("findings", "Warnings", _findings(found)),
        ("runs", "Runs", results_table(groups) + facts_table(groups) + _folders(groups)),
        ("curves", "Curves", _curves(groups, curve_panels(groups))),
        ("links", "Links", _links(groups)),
        ("attention", "Attention", _sheets(sheets)),
        ("localisation", "Localisation", _localisation(groups)),
        ("cost", "Time and memory", _cost(groups)),
    )
    nav = "".join(f'<li><a href="#{key}">{name}</a></li>' for key, name, _ in sections)
    body = "".join(
        f'<section id="{key}" aria-labelledby="{key}-head">'
        f'<h2 id="{key}-head">{name}</h2>{content}</section>'
        for key, name, content in sections
    )
    when = datetime.now().strftime("%Y-%m-%d %H:%M")
    shown = html.escape(title)
    style = (_HERE / "style.css").read_text(encoding="utf-8")
    script = (_HERE / "script.js").read_text(encoding="utf-8")
    return f"""<!doctype html>
<html lang="en"><head><meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta http-equiv="Content-Security-Policy" content="{_POLICY}">
<link rel="icon" href="data:,">
<title>{shown}</title><style>{style}</style></head>
<body><a class="skip" href="#main">Skip to the content</a>
<header><h1>{shown}</h1>
<p class="quiet">{how_many(groups)}, read on {when}</p>
<nav aria-label="Sections"><ul>{nav}</ul></nav></header>
<main id="main">{body}</main>
<footer><p>Written by aal_plugin {aal_plugin.__version__}. The page holds all that it shows, and
fetches nothing.</p></footer>
<script>{get_plotlyjs()}</script>
<script>{script}</script></body></html>
"""


def figure_json(figure: go.Figure, key: str) -> str:
    """A figure as JSON within the page, where the script finds it by its key."""
    text = (figure.to_json() or "").replace("</", "<\\/")
    return f'<script type="application/json" id="{key}">{text}</script>'


def _findings(found: Sequence[tuple[str, str]]) -> str:
    items = [f"<li><b>{html.escape(name)}</b>{html.escape(text)}</li>" for name, text in found]
    if not items:
        items = [f'<li class="good">None of {len(CHECKS)} checks found a problem.</li>']
    return f'<ul class="findings">{"".join(items)}</ul>'


def _folders(groups: Groups) -> str:
    items = "".join(
        f"<li>{html.escape(name)}: <code>{html.escape(str(run.folder))}</code></li>"
        for name, runs in groups.items()
        for run in runs
    )
    return f"<details><summary>Folders of the runs</summary><ul>{items}</ul></details>"


def _curves(groups: Groups, panels: Sequence[Panel]) -> str:
    several = any(len(runs) > 1 for runs in groups.values())
    band = " A band reaches from the lowest to the highest run of a group." if several else ""
    buttons = "".join(
        f'<li><button type="button" aria-pressed="true" data-index="{index}" '
        f'data-group="{html.escape(name, quote=True)}">{_swatch(index)}'
        f"{html.escape(name)}{f' ({len(runs)} runs)' if len(runs) > 1 else ''}</button></li>"
        for index, (name, runs) in enumerate(groups.items())
    )
    charts = "".join(
        f"<figure><figcaption><h3>{html.escape(panel.title)}</h3></figcaption>"
        f'<div class="plot curve" data-figure="curve-{number}" role="img" '
        f'aria-label="{html.escape(_in_words(panel), quote=True)}"></div>'
        f"{figure_json(panel.figure, f'curve-{number}')}"
        f"<details><summary>Show the numbers</summary>{numbers_table(panel)}</details></figure>"
        for number, panel in enumerate(panels)
    )
    missing = ""
    if not any(panel.key == "link_distance" for panel in panels):
        missing = _missing(
            "No run logged a link distance: none was trained with AAL. Set "
            "model.type='AALClassifier' with a teacher and a link_head."
        )
    return (
        f"<p>Press a name to hide or show it in all charts.{band} Dotted lines in the first chart "
        f"are teachers, where TeacherAccuracyHook recorded them.</p>"
        f'<ul class="legend">{buttons}</ul><div class="charts">{charts}</div>{missing}'
    )


def _in_words(panel: Panel) -> str:
    ends = "; ".join(
        f"{name} from {row[1][0]:.4g} to {row[1][-1]:.4g}" for name, row in panel.rows.items()
    )
    return f"{panel.title} over the epochs: {ends}"


def _swatch(index: int) -> str:
    """A piece of the group's line; the script gives it the colour."""
    dash = _DASH_ARRAY.get(DASHES[index % len(DASHES)], "7 4")
    return (
        '<svg width="34" height="12" aria-hidden="true"><line x1="0" y1="6" x2="34" y2="6" '
        f'stroke="currentColor" stroke-width="3" stroke-dasharray="{dash}"/></svg>'
    )


def _links(groups: Groups) -> str:
    linked = linked_runs(groups)
    if not linked:
        return _missing(
            "No run recorded its links. Add default_hooks = dict(links=dict(type="
            "'LinkHeatmapHook')) to record them every epoch, or keep checkpoints."
        )
    options = "".join(f"<option>{html.escape(name)}</option>" for name in linked)
    last = len(next(iter(linked.values()))) - 1
    sources = sorted({run.links_from for runs in groups.values() for run in runs if run.links})
    return (
        "<p>How strongly each block of the student is linked to each level of the teacher: the "
        "mean magnitude of the link weights. Empty cells have no link. A run has one colour scale "
        f"for all its epochs.</p><p class='quiet'>Read from {html.escape(' and '.join(sources))}."
        '</p><div class="controls"><label>Run<select id="link-run">'
        f'{options}</select></label><label class="wide"><span>Epoch <output '
        'id="link-epoch-shown" for="link-epoch"></output></span><input id="link-epoch" '
        f'type="range" min="0" max="{last}" value="{last}" step="1"></label></div>'
        '<figure><div class="plot heatmap" role="img" data-figure="links-figure"></div>'
        f"{figure_json(link_figure(linked), 'links-figure')}</figure>"
    )


def _sheets(sheets: dict[str, Sheets]) -> str:
    if not sheets:
        return _missing("Sheets were not drawn; give --images 3 for three images of each group.")
    parts = [
        "<p>What the first run of each group attends to in validation images: the heads of some "
        "blocks, and below them the teacher's maps beside the student's augmented maps that "
        "imitate them.</p>"
    ]
    for name, drawn in sheets.items():
        parts.append(f"<h3>{html.escape(name)}</h3>")
        if drawn.missing:
            parts.append(_missing(f"{drawn.missing[0].upper()}{drawn.missing[1:]}."))
        pictures = "".join(
            f'<figure><img alt="{html.escape(text, quote=True)}" '
            f'src="data:image/png;base64,{base64.b64encode(png).decode()}">'
            f"<figcaption>{html.escape(title)}</figcaption></figure>"
            for title, text, png in drawn.pictures
        )
        parts.append(f'<div class="sheets">{pictures}</div>')
    return "".join(parts)


def _localisation(groups: Groups) -> str:
    return localization_table(groups) or _missing(
        "No run recorded localisation. Validate with the metric LocalizationAccuracy and the hook "
        "AttentionInPrediction, as configs/shapes/quickstart_localization.py does, on data with "
        "boxes; give that work dir to the report as well."
    )


def _cost(groups: Groups) -> str:
    text = cost_table(groups)
    runs = [run for same in groups.values() for run in same]
    if any(run.front_end == "timm" for run in runs):
        text += _missing("timm's summary.csv records neither time nor memory.")
    if not any("memory" in run.curves for run in runs):
        text += _missing("MMEngine records memory on GPUs alone.")
    return text


def _missing(text: str) -> str:
    return f'<p class="quiet missing">{html.escape(text)}</p>'
