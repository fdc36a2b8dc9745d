"""The page of real runs: its numbers against their files, its parts, what it says is missing."""

import base64
import io
import json
import re
import runpy
import shutil
import statistics
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

pytest.importorskip("plotly", reason="the report needs Plotly: pip install plotly")

from aal_plugin.report import write_report

from .page_parts import PageParts

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def page(work_dirs, timm_dir, tmp_path_factory):
    out = tmp_path_factory.mktemp("page") / "report.html"
    names = [f"<timm> & Co={timm_dir}"]
    write_report([*work_dirs, *names], out, images=1, title="A < B")
    return PageParts(out.read_text(encoding="utf-8"))


@pytest.fixture(scope="module")
def bare(work_dirs, tmp_path_factory):
    """The plain run alone, without sheets and checkpoints."""
    folder = tmp_path_factory.mktemp("bare")
    ignore = shutil.ignore_patterns("*.pth")
    plain = shutil.copytree(work_dirs[2], folder / "plain", ignore=ignore)
    write_report([plain], folder / "report.html", images=0)
    return PageParts((folder / "report.html").read_text(encoding="utf-8"))


def logged(work_dir, key):
    """Means of a key by epoch, line by line from the log."""
    (file,) = work_dir.glob("*/vis_data/scalars.json")
    by_epoch = {}
    for line in map(json.loads, file.read_text().splitlines()):
        if key in line:
            by_epoch.setdefault(line.get("epoch", line["step"]), []).append(line[key])
    return {epoch: sum(values) / len(values) for epoch, values in by_epoch.items()}


def lines(figure, group, role):
    (trace,) = (
        t for t in figure["data"] if t["legendgroup"] == group and t["meta"]["role"] == role
    )
    return dict(zip(trace["x"], trace["y"]))


@pytest.mark.parametrize("key", ["accuracy/top1", "loss", "link_distance", "link_weight"])
def test_curve_of_seeds_is_their_mean_in_a_band(page, work_dirs, key):
    seeds = [logged(folder, key) for folder in work_dirs[:2]]
    figure = page.curve(key)
    for role, value in (("mean", statistics.mean), ("low", min), ("high", max)):
        expected = {epoch: value([seed[epoch] for seed in seeds]) for epoch in (1, 2)}
        assert lines(figure, "aal", role) == pytest.approx(expected)
    assert seeds[0] != seeds[1] or key in ("accuracy/top1", "link_weight")


def test_single_run_is_a_line_without_a_band(page, work_dirs):
    figure = page.curve("loss")
    assert lines(figure, "plain", "mean") == pytest.approx(logged(work_dirs[2], "loss"))
    roles = {t["meta"]["role"] for t in figure["data"] if t["legendgroup"] == "plain"}
    assert roles == {"mean"}


def test_teachers_top1_is_a_line_of_its_own(page, work_dirs):
    top1 = logged(work_dirs[0], "accuracy/teacher_top1")
    assert lines(page.curve("accuracy/top1"), "aal", "teacher") == pytest.approx(top1)


def test_numbers_are_in_a_table_too(page, work_dirs):
    """Epochs that a group has not are left out of its column."""
    heads = ["epoch", "aal", "<timm> & Co"]
    distance, weight = (table for table in page.tables if table[0] == heads)
    seeds = [logged(folder, "link_distance") for folder in work_dirs[:2]]
    for epoch, row in zip((1, 2), distance[1:]):
        values = [seed[epoch] for seed in seeds]
        low, high = min(values), max(values)
        assert row[:2] == [str(epoch), f"{sum(values) / 2:.4g} ({low:.4g} to {high:.4g})"]
    assert [row[1:] for row in weight[1:]] == [
        ["2000 (2000 to 2000)", "2000"],
        ["1000 (1000 to 1000)", "1000"],
        ["–", "500"],
    ]


def test_heatmap_has_the_links_of_each_epoch_of_each_run(page, work_dirs):
    charts = page.figures["links-figure"]
    assert [chart["name"] for chart in charts] == ["aal, seed 0", "aal, seed 1", "<timm> & Co"]
    for chart, work_dir in zip(charts, work_dirs[:2]):
        (file,) = work_dir.glob("*/vis_data/link_strength.json")
        records = [json.loads(line)["strength"] for line in file.read_text().splitlines()]
        times = 2 * 6**0.5  # six linked heads: 1 / (2 √6) at the start
        expected = [[[v * times for v in row] for row in record] for record in records]
        assert chart["epochs"] == [0, 1, 2] and chart["label"].endswith("÷ its size at the start")
        assert np.array(chart["z"]) == pytest.approx(np.array(expected))
        every = [v for record in expected for row in record for v in row]
        assert chart["range"] == pytest.approx([min(every), max(every)])
    assert charts[2]["epochs"] == [1, 2, 3]


def test_results_are_means_and_deviations_over_runs(page, work_dirs):
    last = [logged(folder, "accuracy/top1")[2] for folder in work_dirs[:2]]
    row = next(row for row in page.tables[0] if row[0] == "aal")
    assert row[1] == f"{statistics.mean(last):.1f} ± {statistics.stdev(last):.1f}%"
    assert row[4:] == ["2 epochs", "2 (seeds 0, 1)", "MMPretrain"]


def test_time_of_a_step_is_the_logs(page, work_dirs):
    table = next(t for t in page.tables if "step (median)" in t[0])
    row = next(row for row in table if row[0] == "plain")
    times = sorted(logged(work_dirs[2], "time").values())
    assert row[1] == f"{statistics.median(times):.3f} s"
    assert row[2] == f"{10 / statistics.median(times):,.0f}"


def test_sheets_are_pictures_with_a_text(page):
    assert "could not be drawn" not in page.sections["attention"]
    pictures = [attrs for tag, attrs in page.tags if tag == "img"]
    assert len(pictures) == 3  # of both groups of MMPretrain, and of timm's
    for picture in pictures:
        head, _, data = picture["src"].partition(",")
        assert head == "data:image/png;base64"
        assert Image.open(io.BytesIO(base64.b64decode(data))).width > 200
    assert "mean cosine" in pictures[0]["alt"] and "at level 4" in pictures[0]["alt"]
    assert "cosine" not in pictures[1]["alt"]  # the plain student has no links
    assert "mean cosine" in pictures[2]["alt"]


def test_warnings_are_those_of_the_runs(page):
    text = page.sections["findings"]
    assert text.count("Random teacher") == 2  # AAL's, once for both seeds, and timm's
    assert "aalRandom teacher" in text


def test_warning_of_one_seed_names_it(work_dirs, tmp_path):
    stopped = shutil.copytree(work_dirs[1], tmp_path / "seed1")
    (config,) = stopped.glob("*/vis_data/config.py")
    config.write_text(config.read_text().replace("max_epochs=2", "max_epochs=9"))
    runs = [f"aal={folder}" for folder in (work_dirs[0], stopped)]
    write_report(runs, tmp_path / "report.html", images=0)
    text = PageParts((tmp_path / "report.html").read_text()).sections["findings"]
    assert "aal: seed1Not finished: the log ends at epoch 2 of 9" in text
    assert text.count("Not finished") == 1


def test_names_and_titles_are_text_not_html(page):
    assert ("h1", "A < B") in page.headings
    buttons = [attrs["data-group"] for tag, attrs in page.tags if tag == "button"]
    assert buttons == ["aal", "plain", "<timm> & Co"]
    assert not [attrs for tag, attrs in page.tags if tag == "timm"]


def test_page_fetches_nothing(page):
    (policy,) = (a["content"] for t, a in page.tags if "http-equiv" in a)
    assert policy.startswith("default-src 'none'")
    for _tag, attrs in page.tags:
        for name in ("src", "href", "data"):
            assert re.match(r"(data:|#)", attrs.get(name) or "#")


def test_page_is_made_for_everyone(page):
    assert [tag for tag, _ in page.headings].count("h1") == 1
    assert [text for tag, text in page.headings if tag == "h2"] == [
        *("Warnings", "Runs", "Curves", "Links", "Attention", "Localisation", "Time and memory")
    ]
    for tag, attrs in page.tags:
        if tag == "img":
            assert attrs["alt"]
        elif tag == "th":
            assert attrs["scope"] in ("row", "col")
        elif tag == "div" and "plot" in attrs.get("class", "").split():
            assert attrs["role"] == "img"
        elif tag == "section":
            assert attrs["aria-labelledby"] == f"{attrs['id']}-head"
    assert ("html", dict(lang="en")) in page.tags


def test_sections_without_data_say_what_would_provide_it(bare):
    for section, words in (
        ("findings", "All 7 checks passed"),
        ("curves", "none was trained with AAL. Set model.type='AALClassifier'"),
        ("links", "LinkHeatmapHook"),
        ("attention", "give --images 3"),
        ("localisation", "LocalizationAccuracy"),
        ("cost", "memory on GPUs alone"),
    ):
        assert words in bare.sections[section]
    facts = next(t for t in bare.tables if t[1][0] == "Student")
    assert "Teacher" not in [row[0] for row in facts]


def test_sheets_without_a_checkpoint_say_so(work_dirs, tmp_path):
    ignore = shutil.ignore_patterns("*.pth")
    plain = shutil.copytree(work_dirs[2], tmp_path / "plain", ignore=ignore)
    write_report([plain], tmp_path / "report.html", images=1)
    text = PageParts((tmp_path / "report.html").read_text()).sections["attention"]
    assert "The folder holds no checkpoint" in text


def test_dead_teacher_level_is_found_in_the_sheets(work_dirs, tmp_path, monkeypatch):
    from aal_plugin.mm.evaluation.attention_maps import AttentionReader

    read = AttentionReader._read

    def with_dead_level(self, name, packed):
        shown = read(self, name, packed)
        shown.activations[1].fill_(0.5)
        return shown

    monkeypatch.setattr(AttentionReader, "_read", with_dead_level)
    write_report([work_dirs[0]], tmp_path / "report.html", images=2)
    text = PageParts((tmp_path / "report.html").read_text()).sections["findings"]
    assert "the maps of level 2 are constant on every image" in text


def test_localisation_has_a_column_for_each_group(work_dirs, tmp_path):
    folder = shutil.copytree(work_dirs[2], tmp_path / "run")
    (folder / "test").mkdir()
    (folder / "test" / "test.json").write_text('{"localization/gt_known": 62.25}')
    write_report([folder, work_dirs[0]], tmp_path / "report.html", images=0)
    tables = PageParts((tmp_path / "report.html").read_text()).tables
    assert [["", "run"], ["localization/gt_known", "62.2"]] in tables


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["{run}", "report.txt"], "'report.txt' is not the name of a page; end with OUT.html"),
        (["{run}", "out.html", "--images", "-1"], "images=-1; choose a whole number, 0 or more"),
        (["/nowhere", "out.html"], "'/nowhere' is not a folder; give a work dir of MMPretrain"),
    ],
)
def test_command_tells_what_is_wrong_in_a_line(monkeypatch, capsys, work_dirs, arguments, words):
    with pytest.raises(SystemExit) as stop:
        tool(monkeypatch, *(text.format(run=work_dirs[2]) for text in arguments))
    assert stop.value.code == 2
    said = capsys.readouterr().err
    assert said.startswith("report.py: error: ") and words in said and said.count("\n") == 1


def test_command_writes_the_page(monkeypatch, capsys, work_dirs, tmp_path):
    out = tmp_path / "new" / "r.html"
    tool(monkeypatch, work_dirs[0], work_dirs[1], out, "--images", "0", "--title", "Two seeds")
    said = capsys.readouterr().out
    assert re.fullmatch(r"wrote \S+r.html: 2 runs in 1 group, \d\.\d MB\n", said)
    assert ("h1", "Two seeds") in PageParts(out.read_text(encoding="utf-8")).headings


def tool(monkeypatch, *arguments):
    """tools/report.py as a command, in this process."""
    script = str(ROOT / "tools" / "report.py")
    monkeypatch.setattr("sys.argv", [script, *map(str, arguments)])
    runpy.run_path(script, run_name="__main__")
