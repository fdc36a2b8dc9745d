"""The page of real runs and of odd ones: its numbers against their files, and what it lacks."""

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
import torch
from matplotlib.figure import Figure
from mmengine.registry import init_default_scope
from mmpretrain.registry import MODELS
from PIL import Image

from aal_plugin.analysis import attention
from aal_plugin.mm.evaluation.attention_maps import AttentionReader
from aal_plugin.report import pictures, write_report
from tests.mm.small import training

from .made_up_runs import write_linked_dir, write_work_dir
from .page_parts import PageParts

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def page(work_dirs, timm_dir, tmp_path_factory):
    out = tmp_path_factory.mktemp("page") / "report.html"
    with pytest.MonkeyPatch.context() as patch:
        for name in ("_BLOCKS", "_CHANNELS"):  # a small sheet: Matplotlib takes seconds for a large
            patch.setattr(pictures, name, 1)
        write_report([*work_dirs, f"<timm> & Co={timm_dir}"], out, images=1, title="A < B")
    return PageParts(out)


def written(out, *runs, images=0):
    write_report([*runs], out / "report.html", images)
    return PageParts(out / "report.html")


def logged(work_dir, key):
    """Means of a key by epoch, line by line from the log."""
    (file,) = work_dir.glob("*/vis_data/scalars.json")
    by_epoch = {}
    for line in map(json.loads, file.read_text().splitlines()):
        if key in line:
            by_epoch.setdefault(line.get("epoch", line["step"]), []).append(line[key])
    return {epoch: sum(values) / len(values) for epoch, values in by_epoch.items()}


@pytest.mark.parametrize("key", ["accuracy/top1", "loss", "link_distance", "loss_guidance"])
def test_numbers_of_a_curve_are_mean_lowest_and_highest_of_the_seeds(page, work_dirs, key):
    seeds = [logged(folder, key) for folder in work_dirs[:2]]
    _, (heads, *rows) = page.curve(key)
    column = heads.index("aal")
    for epoch, row in zip((1, 2), rows):
        values = [seed[epoch] for seed in seeds]
        expected = f"{statistics.mean(values):.4g}"
        if values[0] != values[1]:
            expected += f" ({min(values):.4g} to {max(values):.4g})"
        assert row[0] == str(epoch) and row[column] == expected
    if "plain" in heads:
        assert rows[1][heads.index("plain")] == f"{logged(work_dirs[2], key)[2]:.4g}"


def test_epochs_that_a_group_has_not_are_left_out_of_its_column(page):
    _, table = page.curve("link_weight")
    assert table == [
        *(["epoch", "aal", "<timm> & Co"], ["1", "2000", "2000"], ["2", "1000", "1000"]),
        ["3", "–", "500"],
    ]


def test_points_that_the_pointer_reads_lie_on_the_curve(page):
    points, _ = page.curve("link_weight")
    aal, timm = points["group-0"], points["group-2"]
    assert aal == timm[:2]  # both λ are 2000, then 1000
    (x1, y1), (x2, y2), (x3, y3) = timm
    assert x2 - x1 == pytest.approx(x3 - x2, abs=0.2) and x1 < x2
    assert (y2 - y1) == pytest.approx(2 * (y3 - y2), abs=0.3) and y1 < y2  # SVG counts downwards


def test_heatmap_has_the_links_of_each_epoch_of_each_run(page, work_dirs):
    runs = page.links["runs"]
    assert [run["name"] for run in runs] == ["aal, seed 0", "aal, seed 1", "<timm> & Co"]
    for run, work_dir in zip(runs, work_dirs[:2]):
        (file,) = work_dir.glob("*/vis_data/link_strength.json")
        records = [json.loads(line)["strength"] for line in file.read_text().splitlines()]
        # Six linked heads: 1 / (2 √6) at the start.
        expected = np.array(records) * 2 * 6**0.5
        assert run["epochs"] == [0, 1, 2] and run["label"].endswith("÷ its size at the start")
        assert np.array(run["values"]) == pytest.approx(expected, abs=1e-5)
        assert run["highest"] == pytest.approx(expected.max())
    assert runs[2]["epochs"] == [1, 2, 3] and page.links["colours"][0] == "#440154"  # viridis


def test_results_are_means_and_deviations_over_runs(page, work_dirs):
    last = [logged(folder, "accuracy/top1")[2] for folder in work_dirs[:2]]
    row = next(row for row in page.tables[0] if row[0] == "aal")
    assert row[1] == f"{statistics.mean(last):.1f} ± {statistics.stdev(last):.1f}%"
    assert row[4:] == ["2 epochs", "2 (seeds 0, 1)", "MMPretrain"]


def test_sheets_are_pictures_with_a_text(page):
    assert "could not be drawn" not in page.sections["attention"]
    aal, plain, timm = page.all("img")
    for picture in (aal, plain, timm):
        head, _, data = picture["src"].partition(",")
        assert head == "data:image/png;base64"
        assert Image.open(io.BytesIO(base64.b64decode(data))).width > 200
    assert "mean cosine" in aal["alt"] and "at level 4" in aal["alt"]
    assert "cosine" not in plain["alt"] and "mean cosine" in timm["alt"]


def test_warnings_are_those_of_the_runs(page, work_dirs, tmp_path):
    text = page.sections["findings"]
    assert text.count("Random teacher") == 2  # AAL's, once for both seeds, and timm's
    assert "aalRandom teacher" in text
    stopped = shutil.copytree(work_dirs[1], tmp_path / "seed1")
    (config,) = stopped.glob("*/vis_data/config.py")
    config.write_text(config.read_text().replace("max_epochs=2", "max_epochs=9"))
    runs = [f"aal={folder}" for folder in (work_dirs[0], stopped)]
    text = written(tmp_path, *runs).sections["findings"]
    assert "aal: seed1Not finished: the log ends at epoch 2 of 9" in text
    assert text.count("Not finished") == 1


def test_page_fetches_nothing_and_is_made_for_everyone(page):
    (policy,) = (attrs["content"] for attrs in page.all("meta") if "http-equiv" in attrs)
    assert policy.startswith("default-src 'none'")
    for tag, attrs in page.tags:
        for name in ("src", "href", "xlink:href", "data"):
            assert re.match(r"(data:|#)", attrs.get(name) or "#")
        if tag == "img":
            assert attrs["alt"]
        elif tag == "th":
            assert attrs["scope"] in ("row", "col")
        elif tag == "section":
            assert attrs["aria-labelledby"] == f"{attrs['id']}-head"
    ids = [attrs["id"] for _, attrs in page.tags if "id" in attrs]
    assert len(ids) == len(set(ids))
    charts = [attrs["aria-label"] for attrs in page.all("div") if attrs.get("role") == "img"]
    weights = [words for words in charts if "weight" in words]
    assert weights[0].startswith("Link weight λ over the epochs: aal from 2000 to 1000; <timm>")
    assert weights[-1] == "Guidance weight over the epochs: aal from 2.5 to 2.5"
    assert [text for tag, text in page.headings if tag != "h3"] == [
        *("A < B", "Warnings", "Runs", "Curves", "Links", "Attention", "Localisation"),
        "Time and memory",
    ]


NAMES = ["a  b", "lr=0.1", "</script><script>x", "<!--<script>", "$x$ {{ 1 }} \"'", "&amp;"]


def test_names_and_paths_may_have_any_sign(tmp_path):
    runs = [
        f"{name}={write_linked_dir(tmp_path / f'{i} links=full')}" for i, name in enumerate(NAMES)
    ]
    same = [f"same={write_linked_dir(tmp_path / f'same {i}')}" for i in range(2)]
    page = written(tmp_path, *runs, *same)
    names = [run["name"] for run in page.links["runs"]]
    assert names == [*NAMES, "same, run 1", "same, run 2"]
    # A browser shortens double spaces in an option's text: the choice is a number.
    options = [attrs["value"] for attrs in page.all("option")]
    assert options == [str(number) for number in range(len(names))]
    assert [row[0] for row in page.tables[0][1:]] == [*NAMES, "same"]
    assert page.curve("loss")[1][0] == ["epoch", *NAMES, "same"]
    assert len(page.all("script")) == 2 and not page.all("timm")  # the links, and the code


def test_cnn_is_not_told_that_its_attention_cannot_be_read(tmp_path):
    cnn = dict(type="ResNet", depth=18, stem_channels=4, base_channels=4)
    head = dict(type="LinearClsHead", num_classes=10, in_channels=32)
    neck = dict(type="GlobalAveragePooling")
    model = dict(type="ImageClassifier", backbone=cnn, neck=neck, head=head)
    config = training(tmp_path / "cnn", model)
    folder = write_work_dir(tmp_path / "cnn")
    config.dump(folder / "20260101_000000" / "vis_data" / "config.py")
    init_default_scope("mmpretrain")
    torch.save(dict(state_dict=MODELS.build(model).state_dict(), meta={}), folder / "epoch_1.pth")
    text = written(tmp_path, folder, images=1).sections["attention"]
    assert "ResNet has no attention to show, as a CNN has none." in text
    assert "could not be drawn" not in text


def test_files_that_a_crash_left_incomplete_are_passed_over_or_named(tmp_path):
    run = write_linked_dir(tmp_path / "run")
    with open(run / "20260101_000000" / "vis_data" / "scalars.json", "a") as file:
        file.write('{"epoch": 3, "step')
    (run / "result.json").write_text('{"seconds": 1')
    (run / "20260101_000000" / "vis_data" / "link_strength.json").unlink()
    (run / "epoch_2.pth").write_bytes(b"PK")
    page = written(tmp_path, run)
    assert page.curve("link_weight")[1][1:] == [["1", "8"], ["2", "7"]]
    text = page.sections["links"]
    assert "The links cannot be shown: checkpoint" in text and "epoch_2.pth' is cut short" in text


def test_sections_without_data_say_what_would_provide_it(work_dirs, tmp_path):
    ignore = shutil.ignore_patterns("*.pth")
    plain = shutil.copytree(work_dirs[2], tmp_path / "plain", ignore=ignore)
    bare = written(tmp_path, plain)
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
    text = written(tmp_path, plain, images=1).sections["attention"]
    assert "The folder holds no checkpoint" in text


def test_dead_teacher_level_is_found_in_the_sheets(work_dirs, tmp_path, monkeypatch):
    read = AttentionReader._read

    def with_dead_level(self, name, packed):
        shown = read(self, name, packed)
        shown.activations[1].fill_(0.5)
        if name == "val-0":
            shown.activations[2].fill_(0.5)
        return shown

    monkeypatch.setattr(AttentionReader, "_read", with_dead_level)
    monkeypatch.setattr(attention, "attention_sheet", lambda *args, **kwargs: Figure())
    text = written(tmp_path, work_dirs[0], images=2).sections["findings"]
    assert "the maps of level 2 are constant on every image" in text


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["{run}", "report.txt"], "'report.txt' is not the name of a page; end with OUT.html"),
        (["{run}", "out.html", "--images", "-1"], "images=-1; choose a whole number, 0 or more"),
        (["/nowhere", "out.html"], "'/nowhere' is not a folder; give a work dir of MMPretrain"),
    ],
)
def test_command_tells_what_is_wrong_in_a_line(monkeypatch, capsys, tmp_path, arguments, words):
    run = write_work_dir(tmp_path)
    with pytest.raises(SystemExit) as stop:
        tool(monkeypatch, *(text.format(run=run) for text in arguments))
    assert stop.value.code == 2
    said = capsys.readouterr().err
    assert said.startswith("report.py: error: ") and words in said and said.count("\n") == 1


def test_command_writes_the_page(monkeypatch, capsys, work_dirs, tmp_path):
    out = tmp_path / "new" / "r.html"
    tool(monkeypatch, work_dirs[0], work_dirs[1], out, "--images", "0", "--title", "Two seeds")
    said = capsys.readouterr().out
    assert re.fullmatch(r"wrote \S+r.html: 2 runs in 1 group, \d\.\d MB\n", said)
    assert ("h1", "Two seeds") in PageParts(out).headings


def tool(monkeypatch, *arguments):
    """tools/report.py as a command, in this process."""
    script = str(ROOT / "tools" / "report.py")
    monkeypatch.setattr("sys.argv", [script, *map(str, arguments)])
    runpy.run_path(script, run_name="__main__")
