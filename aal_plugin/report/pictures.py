"""Pictures of the page: learning curves and attention sheets, and the numbers of link heatmaps."""

from __future__ import annotations

import base64
import io
import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, NamedTuple

import matplotlib
import numpy as np
from matplotlib.colors import to_hex
from matplotlib.figure import Figure

from aal_plugin.analysis.curves import COLOURS, MARKERS, PANELS, plot_curves
from aal_plugin.analysis.heatmap import COLOURS as LINK_COLOURS
from aal_plugin.analysis.runs import group_curves

from .runs import Groups, RecordedRun

if TYPE_CHECKING:
    from torch import Tensor

    from aal_plugin.analysis.attention import Pair

# Matplotlib's markers as text, for the legend.
SIGNS = [dict(zip("osD^vPX", "●■◆▲▼✚✖"))[marker] for marker in MARKERS]
_BLOCKS = 4  # of the student, evenly spread
_CHANNELS = 3  # teacher maps of a level
# What a run's folder needs: the checkpoint, and what says how the run was made.
_FILES = {
    "MMPretrain": ("epoch_*.pth", "config (*/vis_data/config.py)"),
    "timm": ("last.pth.tar", "args.yaml"),
}
_FLAT = 1e-8  # range of a constant map


class Chart(NamedTuple):
    """The curves of one logged number, as a picture and in words."""

    key: str
    title: str
    words: str
    svg: str
    groups: list[int]  # that logged it


def curve_charts(groups: Groups) -> list[Chart]:
    """A chart for each number that any run logged, drawn as `aal curves` draws it."""
    charts: list[Chart] = []
    for key, (title, unit) in PANELS.items():
        curves = group_curves(groups, key)
        if not curves:
            continue
        figure = plot_curves(groups, {key: (title, unit)})
        figure.legends[0].remove()  # the page has one for all charts
        svg = _svg(figure, f"curve-{len(charts)}-")
        ends = (f"{name} from {c[1][0]:.4g} to {c[1][-1]:.4g}" for name, c in curves.items())
        words = f"{title} over the epochs: {'; '.join(ends)}"
        own = [index for index, name in enumerate(groups) if name in curves]
        charts.append(Chart(key, title, words, svg, own))
    return charts


def _svg(figure: Figure, prefix: str) -> str:
    """An SVG element whose colours are those of the page's theme, and whose ids are its own.

    Each group's line has a point for every epoch, which the page's script reads.
    """
    file = io.StringIO()
    # Text stays text, and points stay points.
    with matplotlib.rc_context({"svg.fonttype": "none", "path.simplify": False}):
        figure.savefig(file, format="svg", transparent=True)
    text = file.getvalue()
    text = re.sub(r'id="(group-\d+)"', r'class="\1"', text[text.index("<svg") :])
    text = re.sub(r'( id="|href="#|url\(#)', rf"\1{prefix}", text)
    for index, colour in enumerate(COLOURS):
        text = text.replace(colour, f"var(--group-{index})")
    return text


def link_heatmaps(groups: Groups) -> dict[str, Any]:
    """Of every run that recorded links: its name, the epochs, and (levels, blocks) for each.

    A run has one scale for all its epochs, from 0 on, so that growing links look stronger.
    """
    runs = []
    for name, same in groups.items():
        seeds = {run.seed for run in same} - {None}
        for number, run in enumerate(same, start=1):
            if not run.links.by_epoch:
                continue
            which = f"seed {run.seed}" if len(seeds) == len(same) else f"run {number}"
            epochs = sorted(run.links.by_epoch)
            values = np.stack([run.links.by_epoch[epoch] for epoch in epochs])
            runs.append(
                dict(
                    name=name if len(same) == 1 else f"{name}, {which}",
                    label=run.links.label,
                    epochs=epochs,
                    # JSON has no NaN.
                    values=np.where(np.isnan(values), np.array(None), values.round(6)).tolist(),
                    highest=float(np.nanmax(values)) or 1.0,
                )
            )
    colours = matplotlib.colormaps[LINK_COLOURS](np.linspace(0, 1, 33))
    return dict(runs=runs, colours=[to_hex(colour) for colour in colours])


@dataclass
class Sheets:
    """Attention sheets of one run, or why there are none."""

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
    # Slow to import, and MMPretrain may be missing.
    from aal_plugin.analysis.attention import attention_sheet, spread_blocks, strongest_pairs

    reader: Any
    if run.front_end == "timm":
        from aal_plugin.timm.attention_maps import TimmAttentionReader as reader
    else:
        from aal_plugin.mm.evaluation.attention_maps import AttentionReader as reader
    reader = reader(str(run.config_file), str(run.checkpoint))
    blocks = spread_blocks(len(reader.recorder.heads), _BLOCKS)
    pictures, alive, levels = [], set(), 0
    for shown in reader.dataset(count):
        pairs = strongest_pairs(shown, _CHANNELS)
        png = io.BytesIO()
        attention_sheet(shown, blocks, pairs, title="").savefig(png, dpi=80, format="png")
        image = base64.b64encode(png.getvalue()).decode()
        pictures.append((shown.title, _text(blocks, pairs), image))
        maps = shown.activations or []
        levels = len(maps)
        alive |= {level for level, own in enumerate(maps, start=1) if _varies(own)}
    return Sheets(pictures, tuple(sorted(set(range(1, levels + 1)) - alive)))


def _varies(maps: Tensor) -> bool:
    """Whether any of the maps (C, H, W) has more than one value; one pixel varies by being set."""
    values = maps.float().flatten(1)
    lowest = 0 if values.shape[1] == 1 else values.amin(dim=1, keepdim=True)
    return bool((values - lowest).abs().max() > _FLAT)


def _text(blocks: list[int], pairs: list[Pair]) -> str:
    """What the picture shows, for those who do not see it."""
    text = f"The image and the attention of every head of blocks {', '.join(map(str, blocks))}."
    if not pairs:
        return text
    by_level: dict[int, list[float]] = {}
    for pair in pairs:
        by_level.setdefault(pair.level, []).append(pair.cosine)
    means = ", ".join(f"{np.mean(v):.2f} at level {level}" for level, v in by_level.items())
    return f"{text} Below, teacher maps beside the student's augmented maps; mean cosine {means}."
