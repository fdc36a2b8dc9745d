import json
from pathlib import Path

import numpy as np
import pytest

from aal_plugin.analysis.curves import plot_curves
from aal_plugin.analysis.runs import (
    Run,
    group_curves,
    mean_curve,
    named_folder,
    read_run,
)


def log(work_dir, run, epochs, loss, top1, per_epoch=2):
    """What MMEngine writes: two lines an epoch, and one of a validation after it."""
    folder = work_dir / run / "vis_data"
    folder.mkdir(parents=True)
    lines = []
    for epoch in epochs:
        for i in range(per_epoch):
            step = (epoch - 1) * per_epoch + i + 1
            lines.append(dict(lr=0.1, loss=loss + i, epoch=epoch, iter=step, step=step))
        lines.append({"accuracy/top1": top1 + epoch, "time": 0.1, "step": epoch})
    (folder / "scalars.json").write_text("".join(json.dumps(line) + "\n" for line in lines))


def test_curves_are_means_of_an_epoch_and_what_validation_gave(tmp_path):
    log(tmp_path, "20260101_000000", (1, 2, 3), loss=2.0, top1=10)
    run = read_run(tmp_path)
    assert run.unit == "epoch"
    assert run.curves["loss"][0].tolist() == [1, 2, 3]
    assert run.curves["loss"][1].tolist() == [2.5] * 3
    assert run.curves["accuracy/top1"][1].tolist() == [11, 12, 13]


def test_resumed_run_takes_over_from_its_first_epoch(tmp_path):
    log(tmp_path, "20260101_000000", (1, 2, 3), loss=2.0, top1=10)
    log(tmp_path, "20260102_000000", (3, 4), loss=1.0, top1=50)  # killed in epoch 3, resumed
    run = read_run(tmp_path)
    curves = run.curves
    assert [folder.name for folder in run.folders] == ["20260101_000000", "20260102_000000"]
    assert curves["loss"][0].tolist() == [1, 2, 3, 4]
    assert curves["loss"][1].tolist() == [2.5, 2.5, 1.5, 1.5]
    assert curves["accuracy/top1"][1].tolist() == [11, 12, 53, 54]


def test_run_begun_anew_replaces_the_earlier_and_empty_logs_are_passed_over(tmp_path):
    log(tmp_path, "20260101_000000", (1, 2, 3), loss=2.0, top1=10)
    log(tmp_path, "20260102_000000", (1,), loss=1.0, top1=50)
    log(tmp_path, "20260103_000000", (), loss=1.0, top1=50)
    assert read_run(tmp_path).curves["accuracy/top1"][1].tolist() == [51]


@pytest.mark.parametrize("torn", ['{"lr": 0.1, "loss": 9', "\0\0\0", '{"a": 1}', "[1]", "\u00e4"])
def test_lines_that_a_crash_left_incomplete_are_skipped(tmp_path, torn):
    log(tmp_path, "20260101_000000", (1, 2), loss=2.0, top1=10)
    file = tmp_path / "20260101_000000" / "vis_data" / "scalars.json"
    first, *rest = file.read_text().splitlines()
    file.write_bytes("\n".join([first, torn, *rest, torn]).encode("latin-1"))
    assert read_run(tmp_path).curves["loss"][1].tolist() == [2.5, 2.5]


HEAD = "epoch,train_loss,train_task_loss,train_link_weight,eval_top1,lr\r\n"
OTHER = "epoch,train_loss,train_task_loss,train_link_weight,eval_loss,eval_top1,lr\r\n"


@pytest.mark.parametrize(
    "text",
    [
        f"{HEAD}0,9,8,100,1,.1\r\n1,7,6,50,2,.1\r\n{HEAD}1,5,4,50,3,.1\r\n2,3,2,25,4,.1\r\n",
        f"{HEAD}0,9,8,100,1,.1\r\n{OTHER}1,5,4,50,7,3,.1\r\n2,3,2,25,7,4,.1\r\n",
        f"{HEAD}0,9,8,100,1,.1\r\n1,5,4,50,3,.1\r\n2,3,2,25,4,.1\r\n3,1,1",
        f"{HEAD}0,9,8,100,1,.1\r\n\0\0\r\n1,5,4,50,3,.1\r\n2,3,2,25,4,.1\r\n\0\0\0",
        f"{HEAD}0,0,0,0,0,.1\r\n1,0,0,0,0,.1\r\n2,0,0,0,0,.1\r\n3,0,0,0,0,.1\r\n{HEAD}"
        "0,9,8,100,1,.1\r\n1,5,4,50,3,.1\r\n2,3,2,25,4,.1\r\n",
    ],
    ids=["head repeated", "other columns", "torn row", "zeros of a crash", "begun anew"],
)
def test_summary_of_a_resumed_timm_run(tmp_path, text):
    (tmp_path / "summary.csv").write_bytes(text.encode())
    curves = read_run(tmp_path).curves
    assert {key: curves[key][1].tolist() for key in ("loss", "link_weight", "accuracy/top1")} == {
        "loss": [8, 4, 2],
        "link_weight": [100, 50, 25],
        "accuracy/top1": [1, 3, 4],
    }
    assert curves["loss_with_links"][0].tolist() == [1, 2, 3]


@pytest.mark.parametrize("content", [None, "", HEAD])
def test_folder_without_a_log_is_told(tmp_path, content):
    if content is not None:
        (tmp_path / "summary.csv").write_text(content)
    with pytest.raises(ValueError, match=r"holds no training run; give a work dir of MMPretrain"):
        read_run(tmp_path)
    with pytest.raises(ValueError, match=r"nowhere' is not a folder; give a work dir"):
        read_run("nowhere")


@pytest.mark.parametrize(
    ("text", "name", "folder"),
    [
        ("runs/lr=0.1/seed0", "", "runs/lr=0.1/seed0"),
        ("aal=runs/lr=0.1/seed0", "aal", "runs/lr=0.1/seed0"),
        ("lr=0.1=plain", "lr=0.1", "plain"),
        ("aal=plain", "aal", "plain"),
        ("x=plain", "", "x=plain"),  # both are there
        ("=plain", "", "plain"),
        ("plain", "", "plain"),
        ("a=b=c", "", "a=b=c"),  # none of them is there: the error names all of it
        ("plain=", "", "plain="),
    ],
)
def test_names_and_paths_may_have_equals_signs(tmp_path, monkeypatch, text, name, folder):
    monkeypatch.chdir(tmp_path)
    for made in ("runs/lr=0.1/seed0", "plain", "x=plain"):
        (tmp_path / made).mkdir(parents=True)
    assert named_folder(text) == (name, Path(folder))


def test_mean_runs_over_the_epochs_that_all_runs_have():
    a = (np.array([1, 2, 3]), np.array([1.0, 2.0, 3.0]))
    b = (np.array([2, 3, 4]), np.array([4.0, 9.0, 9.0]))
    epochs, mean, low, high = (values.tolist() for values in mean_curve([a, b]))
    assert (epochs, mean, low, high) == ([2, 3], [3, 6], [2, 3], [4, 9])


def test_figure_has_a_panel_for_what_was_logged_and_a_band_for_several_runs(tmp_path):
    for name, loss in (("a", 2.0), ("b", 3.0), ("c", 1.0)):
        log(tmp_path / name, "20260101_000000", (1, 2), loss=loss, top1=10)
    # Matplotlib reads $…$ as a formula, and hides what begins with an underscore.
    runs = {"_$x_{$": [read_run(tmp_path / n) for n in "ab"], "aal": [read_run(tmp_path / "c")]}
    runs["aal"][0].curves["accuracy/teacher_top1"] = (np.array([1, 2]), np.array([90.0, 90.0]))
    figure = plot_curves(runs)
    top1, loss = figure.axes
    assert top1.get_ylabel() == "Validation top-1 (%)" and top1.get_ylim()[0] == 0
    assert loss.get_ylabel() == "Training loss of the labels" and loss.get_ylim()[0] > 0
    assert [text.get_text() for text in figure.legends[0].get_texts()] == [
        *(r" _\$x_{\$ (2 runs)", "aal", "teacher of aal")
    ]
    assert [line.get_gid() for line in top1.lines] == ["group-0", "group-1", "group-1"]
    assert top1.lines[2].get_ydata().tolist() == [90, 90] and len(loss.lines) == 2
    (band,) = loss.collections
    edges = band.get_paths()[0].vertices
    assert (edges.min(axis=0).tolist(), edges.max(axis=0).tolist()) == ([1, 2.5], [2, 3.5])
    assert len(loss.collections) == 1 and loss.get_xlabel() == "epoch"
    assert loss.lines[0].get_ydata().tolist() == [3.0, 3.0]
    figure.draw_without_rendering()


def test_long_curves_have_sixty_markers_at_most():
    for epochs, every in ((60, 1), (61, 2), (300, 5)):
        curve = (np.arange(epochs), np.arange(epochs, dtype=float))
        (line,) = plot_curves({"a": [Run({"loss": curve})]}).axes[0].lines
        assert line.get_markevery() == every


def test_runs_without_a_common_epoch_have_no_curve():
    early, late = (Run({"loss": (np.array(e), np.ones(2))}) for e in ([1, 2], [5, 6]))
    assert list(group_curves({"a": [early, late], "b": [early]}, "loss")) == ["b"]
