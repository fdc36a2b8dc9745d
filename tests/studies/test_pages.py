"""Tables, sentences and blocks of pages, from runs written by hand."""

import re
import runpy
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from tools.studies.figures import figure
from tools.studies.pages import fill_in, write_page
from tools.studies.records import Record, Records
from tools.studies.study import read_study
from tools.studies.tables import answer, table

pytest.importorskip("scipy")

STUDY = """
question: How many images are few?
arms:
  plain: {config: plain.py}
  AAL: {config: plain.py}
settings:
  lr: {a: {lr: 1}, b: {lr: 2}}
  images: {500: {n: 500}, 2000: {n: 2000}}
choose: [lr]
columns: images
baseline: plain
answer: "AAL reaches {AAL, images 500}, {AAL, images 500 - plain, images 500} more."
seeds: [0, 1]
"""
# top-1 on (validation, test) images, by arm, lr, images and seed.
RUNS = {
    ("plain", "a", "500", 0): (10, 12), ("plain", "a", "500", 1): (0, 14),
    ("plain", "b", "500", 0): (9, 99),
    ("plain", "a", "2000", 0): (20, 99),
    ("plain", "b", "2000", 0): (30, 31), ("plain", "b", "2000", 1): (0, 35),
    ("AAL", "a", "500", 0): (40, 99),
    ("AAL", "b", "500", 0): (41, 50), ("AAL", "b", "500", 1): (0, 54),
    ("AAL", "b", "2000", 0): (80, 81),
}  # fmt: skip


@pytest.fixture
def study(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "plain.py").write_text("")
    (tmp_path / "few.yml").write_text(STUDY)
    records = Records(tmp_path / "few.json")
    for (arm, lr, images, seed), (val, test) in RUNS.items():
        values = dict(lr=lr, images=images)
        curves = {"accuracy/top1": [[1, 2], [val / 2, val]]}
        tests = {"accuracy/top1": float(test)}
        records.add(
            Record(
                arm, values, seed, f"{arm}{lr}{images}", {}, "abc", {}, "cpu X", 1800, tests, curves
            ),
            "text",
        )
    return read_study(tmp_path / "few.yml"), Records(tmp_path / "few.json")


def test_table_has_the_chosen_runs_and_paired_differences(study):
    lines = table(*study)
    assert lines[0] == ("|  | chosen lr | images 500 | minus plain | images 2000 | minus plain |")
    # plain: lr a at 500 images, b at 2000; AAL: b at both, one of two seeds at 2000.
    assert lines[2:] == [
        "| plain | 500: a; 2000: b | 13.0 ± 1.4 (2) |  | 33.0 ± 2.8 (2) |  |",
        "| AAL | b | 52.0 ± 2.8 (2) | +39.0 (+26.3 to +51.7) | 81.0 (1) | +50.0 |",
    ]


def test_without_pairs_there_is_no_difference(study):
    """Neither in the table nor in the sentence, which has to give both means then."""
    shown, records = study
    for run in [run for run in records if run.arm == "AAL" and run.values["images"] == "2000"]:
        records.add(replace(run, processor="cpu Y"), "text")
    lines = table(shown, records)
    assert lines[0] == "|  | chosen lr | images 500 | minus plain | images 2000 |"
    assert lines[3] == "| AAL | b | 52.0 ± 2.8 (2) | +39.0 (+26.3 to +51.7) | 81.0 (1) |"
    few = "{AAL, images 2000 - plain, images 2000}"
    with pytest.raises(ValueError, match="another kind of processor .*give both means"):
        answer(replace(shown, answer=few), records)


def test_several_chosen_settings_are_named_in_each_row(study, tmp_path):
    text = STUDY.replace("choose: [lr]", "choose: [lr, images]").replace("columns: images\n", "")
    (tmp_path / "few.yml").write_text(text)
    lines = table(read_study(tmp_path / "few.yml"), study[1])
    assert lines[0] == "|  | chosen | top-1 | minus plain |"
    assert lines[2:] == [
        "| plain | lr b, images 2000 | 33.0 ± 2.8 (2) |  |",
        "| AAL | lr b, images 2000 | 81.0 (1) | +50.0 |",
    ]


def test_only_the_first_metric_is_compared_with_the_baseline(study, tmp_path):
    metrics = "metrics: {accuracy/top1: top-1, epochs to 35: epochs to 35%}\n"
    (tmp_path / "few.yml").write_text(STUDY + metrics)
    lines = table(read_study(tmp_path / "few.yml"), study[1])
    heads = ["", "chosen lr", "images 500, top-1", "minus plain", "images 500, epochs to 35%"]
    heads += ["images 2000, top-1", "minus plain", "images 2000, epochs to 35%"]
    assert lines[0] == "| " + " | ".join(heads) + " |"
    assert lines[2].endswith("| 13.0 ± 1.4 (2) |  | never | 33.0 ± 2.8 (2) |  | never |")
    # AAL: 41% in epoch 2 by one of two seeds, 80% in epoch 2 and 40% in epoch 1.
    assert lines[3].endswith("| +39.0 (+26.3 to +51.7) | 2.0 (1) | 81.0 (1) | +50.0 | 1.0 (1) |")


def test_answer_is_filled_with_the_figures_of_the_table(study):
    assert answer(*study) == "AAL reaches 52.0 ± 2.8, +39.0 (+26.3 to +51.7) more."


@pytest.mark.parametrize("name", ["AAL, images 700", "KD, images 500"])
def test_a_name_without_runs_in_the_answer_is_told(study, tmp_path, name):
    (tmp_path / "few.yml").write_text(STUDY.replace("{AAL, images 500}", "{" + name + "}"))
    with pytest.raises(ValueError, match=f"answer: '{name}' has no runs; choose from"):
        answer(read_study(tmp_path / "few.yml"), study[1])


def test_a_page_is_written_between_its_marks_and_stays(study, tmp_path):
    page = tmp_path / "docs" / "results.md"
    page.parent.mkdir()
    text = (
        "# Results\n\nBefore.\n\n<!-- study: few -->\nold\n<!-- end of study -->\n\nAfter.\n\n"
        "<!-- study: few table -->\n<!-- end of study -->\n"
        "<!-- study: few answer -->\n<!-- end of study -->\n"
    )
    page.write_text(text)
    assert write_page(page, tmp_path, tmp_path / "docs" / "images")
    written = page.read_text()
    assert not write_page(page, tmp_path, tmp_path / "docs" / "images")
    assert (
        written == page.read_text() == fill_in(page, tmp_path, tmp_path / "docs" / "images", False)
    )
    assert "\nold\n" not in written and written.count("| AAL | b | 52.0") == 2
    assert written.startswith("# Results\n\nBefore.\n") and "\n\nAfter.\n" in written
    assert written.count("How many images are few?") == 2  # the question and the figure's words
    assert written.count("AAL reaches 52.0") == 2 and written.count("10 runs of 5.0 hours") == 1
    assert written.endswith(
        "<!-- study: few answer -->\n\nAAL reaches 52.0 ± 2.8, +39.0 (+26.3 to +51.7) more.\n\n"
        "<!-- end of study -->\n"
    )
    link = re.search(r"!\[.*\]\((.*)\)", written).group(1)
    assert (page.parent / link).read_bytes().startswith(b"\x89PNG")


def test_a_page_tells_how_many_teachers_the_runs_had(study, tmp_path):
    page = tmp_path / "page.md"
    page.write_text("<!-- study: few -->\n<!-- end of study -->\n")
    records = study[1]
    # Two checkpoints are two teachers of one study; two sums of one checkpoint, two trainings.
    for sums, ending in (("aa", "on cpu X."), ("ab", "on cpu X, with 2 trainings of the teacher.")):
        for seed, weights in enumerate(sums):
            run = records.find("AALb500", seed)
            records.add(replace(run, weights={"cnn.pth": weights, "other.pth": "c"}), "text")
        assert fill_in(page, tmp_path, tmp_path, draw=False).count(f" {ending}\n") == 1


def test_figure_shows_means_with_their_spread_at_each_value(study):
    (axes,) = figure(*study).axes
    assert [label.get_text() for label in axes.get_xticklabels()] == ["500", "2000"]
    lines = {
        container.get_label(): container.lines[0].get_ydata().tolist()
        for container in axes.containers
    }
    assert lines == {"plain": [13.0, 33.0], "AAL": [52.0, 81.0]}
    # Bars from mean - spread to mean + spread; one run has none.
    bars = {
        container.get_label(): [round(y, 1) for _, y in np.vstack(segments)]
        for container in axes.containers
        for segments in [container.lines[2][0].get_segments()]
    }
    assert bars["AAL"] == [49.2, 54.8, 81.0, 81.0]


def test_without_columns_the_figure_shows_validation_curves(study, tmp_path):
    text = STUDY.replace("columns: images\n", "").replace("choose: [lr]\n", "")
    (tmp_path / "few.yml").write_text(text)
    (axes,) = figure(read_study(tmp_path / "few.yml"), study[1]).axes
    lines = {line.get_label(): line.get_ydata().tolist() for line in axes.lines}
    assert lines["AAL, lr b, images 500"] == [10.25, 20.5]  # the mean of two seeds


def test_a_page_shows_every_value_of_a_setting_that_was_chosen(study, tmp_path):
    page = tmp_path / "page.md"
    page.write_text("<!-- study: few by lr -->\n<!-- end of study -->\n")
    assert write_page(page, tmp_path, tmp_path)
    lines = page.read_text().splitlines()
    assert [line for line in lines if line.startswith("|")] == [
        "|  | lr a | lr b |",
        "| --- | --- | --- |",
        "| plain, images 500 | 13.0 ± 1.4 (2) | 99.0 (1) |",
        "| plain, images 2000 | 99.0 (1) | 33.0 ± 2.8 (2) |",
        "| AAL, images 500 | 99.0 (1) | 52.0 ± 2.8 (2) |",
        "| AAL, images 2000 |  | 81.0 (1) |",
    ]
    assert "![The same for every lr](study_few_lr.png)" in lines
    assert (tmp_path / "study_few_lr.png").is_file()
    page.write_text(page.read_text().replace("by lr", "by rate"))
    with pytest.raises(ValueError, match=r"few by: 'rate' is not one of \['lr', 'images'\]"):
        fill_in(page, tmp_path, tmp_path)


def test_no_two_of_many_lines_look_alike(study, tmp_path):
    arms = "".join(f"  more {number}: {{config: plain.py}}\n" for number in range(10))
    text = STUDY.replace("columns: images\n", "").replace("choose: [lr]\n", "")
    (tmp_path / "few.yml").write_text(text.replace("settings:", f"{arms}settings:"))
    shown, records = read_study(tmp_path / "few.yml"), study[1]
    run = next(run for run in records if run.arm == "AAL")
    for number in range(10):
        records.add(replace(run, arm=f"more {number}"), "text")
    (axes,) = figure(shown, records).axes
    looks = {(line.get_color(), line.get_linestyle()) for line in axes.lines}
    assert len(looks) == len(axes.lines) > 10


def test_link_distance_has_a_panel_of_its_own_where_several_arms_have_it(study, tmp_path):
    text = STUDY.replace("columns: images\n", "").replace("choose: [lr]\n", "")
    text = text.replace("settings:", "  AAL2: {config: plain.py}\nsettings:")
    (tmp_path / "few.yml").write_text(text)
    shown, records = read_study(tmp_path / "few.yml"), study[1]
    linked = [run for run in records if run.arm == "AAL"]
    for arm, panels in {"AAL": 1, "AAL2": 2}.items():
        for number, run in enumerate(linked):
            curves = {**run.curves, "link_distance": [[1, 2, 3], [0.5, 0.2, 0.1 + number]]}
            records.add(replace(run, arm=arm, curves=curves), "text")
        assert len(figure(shown, records).axes) == panels
    top1, distance = figure(shown, records).axes
    assert distance.get_ylabel() == "link_distance"
    assert len(top1.lines) > len(distance.lines) == 6  # plain has none
    assert all(line.get_ydata().tolist()[:2] == [0.5, 0.2] for line in distance.lines)
    # One colour for each row, in both panels.
    all_rows, rows = (
        {line.get_label(): line.get_color() for line in axes.lines} for axes in (top1, distance)
    )
    assert rows.items() <= all_rows.items()


def test_an_unknown_study_is_named(study, tmp_path):
    page = tmp_path / "page.md"
    page.write_text("<!-- study: nosuch -->\n<!-- end of study -->\n")
    with pytest.raises(FileNotFoundError, match=r"nosuch\.yml"):
        write_page(page, tmp_path, tmp_path)


def test_command_line_writes_and_checks_a_page(study, tmp_path, monkeypatch, capsys):
    tool = Path(__file__).resolve().parents[2] / "tools" / "results.py"
    (tmp_path / "report.md").write_text("<!-- study: few table -->\n<!-- end of study -->\n")

    def results(*arguments):
        monkeypatch.setattr(sys, "argv", ["results.py", "report.md", *arguments])
        runpy.run_path(str(tool), run_name="__main__")

    with pytest.raises(SystemExit, match=r"out of date: report\.md"):
        results("--studies", ".", "--check")
    results("--studies", ".")
    assert "written: report.md" in capsys.readouterr().out
    results("--studies", ".", "--check")
    with pytest.raises(SystemExit, match="2"):
        results("--studies", "nowhere")
    assert "nowhere does not exist in" in capsys.readouterr().err


def test_dots_show_every_seed_and_the_mean(study):
    shown, records = study
    (axes,) = figure(replace(shown, chart="dots"), records).axes
    drawn = [np.atleast_1d(line.get_xdata()).tolist() for line in axes.lines]
    assert drawn == [[12, 14], [13], [31, 35], [33], [50, 54], [52], [81], [81]]
    names = [label.get_text() for label in axes.get_yticklabels()]
    assert names == [f"{arm}, images {n}" for arm in ("plain", "AAL") for n in (500, 2000)]
    assert [text.get_text() for text in axes.texts] == ["13.0", "33.0", "52.0", "81.0"]
