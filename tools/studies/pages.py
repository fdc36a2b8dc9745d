"""Writes the studies' tables and figures into the Markdown pages that name them.

A page marks the place of a study by two comments:

    <!-- study: fair -->
    <!-- end of study -->

Everything between them is written from docs/results/studies/fair.yml and fair.json.
"""

from __future__ import annotations

import os
import re
from pathlib import Path

from aal_plugin.files import save_figure, write_whole

from .figures import figure
from .records import Records
from .study import Study, read_study
from .tables import answer, table

_BLOCK = re.compile(
    r"(?P<mark><!-- study: (?P<name>[\w.-]+)"
    r"(?: (?P<part>table|answer)| by (?P<setting>[^\n]+?))? -->\n)"
    r".*?(?P<end><!-- end of study -->)",
    re.DOTALL,
)


def fill_in(page: Path, studies: Path, images: Path, draw: bool = True) -> str:
    """The page's text with every study's block written anew.

    A mark `<!-- study: NAME table -->` takes the table alone, `<!-- study: NAME answer -->` the
    sentence, `<!-- study: NAME by SETTING -->` a table and figure of every value of a setting.

    Args:
        page: a Markdown file.
        studies: folder of the studies and of their results.
        images: folder of the figures; they are written if `draw`.

    Raises:
        FileNotFoundError: a study that the page names does not exist.
        ValueError: a study has no such setting.
    """

    def block(match: re.Match) -> str:
        file = studies / f"{match['name']}.yml"
        study, records = read_study(file), Records(file.with_suffix(".json"))
        if match["setting"]:
            study = study.by(match["setting"])
        if match["part"] == "table":
            lines = ["", *table(study, records), ""]
        elif match["part"] == "answer":
            lines = ["", answer(study, records), ""]
        else:
            lines = _section(study, records, page, file, images, draw)
        return match["mark"] + "\n".join(lines) + "\n" + match["end"]

    return _BLOCK.sub(block, page.read_text(encoding="utf-8"))


def write_page(page: Path, studies: Path, images: Path) -> bool:
    """Write a page's studies anew. Returns whether the page changed."""
    before, after = page.read_text(encoding="utf-8"), fill_in(page, studies, images)
    if after != before:
        write_whole(page, after)
    return after != before


def _section(
    study: Study, records: Records, page: Path, file: Path, images: Path, draw: bool
) -> list[str]:
    image = images / f"study_{study.name}.png"
    drawing = figure(study, records)
    if draw and drawing is not None:
        save_figure(drawing, image, dpi=110)
    lines = ["", f"*{study.question}*"]
    if study.answer and records.runs:
        lines += ["", answer(study, records)]
    lines += ["", *table(study, records), ""]
    if drawing is not None:
        where = Path(os.path.relpath(image, page.parent)).as_posix()
        lines += [f"![{study.question}]({where})", ""]
    return [*lines, f"`tools/compare.py {file.as_posix()} --jobs 2`: {_runs(study, records)}.", ""]


def _runs(study: Study, records: Records) -> str:
    """How many runs, for how long, where, and with how many trainings of one teacher."""
    seeds = f"{len(study.seeds)} seeds" if len(study.seeds) > 1 else "one seed"
    hours = sum(run.seconds for run in records) / 3600
    processors = "; ".join(dict.fromkeys(run.processor for run in records))
    sums: dict[str, set[str]] = {}
    for run in records:
        for path, weights in run.weights.items():
            sums.setdefault(path, set()).add(weights)
    count = max(map(len, sums.values()), default=0)
    teachers = f", with {count} trainings of the teacher" if count > 1 else ""
    return (
        f"{seeds}, {len(records.runs)} runs of {hours:.1f} hours in all on {processors}{teachers}"
    )
