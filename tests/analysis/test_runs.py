import json

import numpy as np
import pytest

from aal_plugin.analysis.curves import plot_curves
from aal_plugin.analysis.runs import epochs_to_reach, mean_curve, read_run


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
    curves = read_run(tmp_path).curves
    assert curves["loss"][0].tolist() == [1, 2, 3, 4]
    assert curves["loss"][1].tolist() == [2.5, 2.5, 1.5, 1.5]
    assert curves["accuracy/top1"][1].tolist() == [11, 12, 53, 54]


def test_run_begun_anew_replaces_the_earlier_and_empty_logs_are_passed_over(tmp_path):
    log(tmp_path, "20260101_000000", (1, 2, 3), loss=2.0, top1=10)
    log(tmp_path, "20260102_000000", (1,), loss=1.0, top1=50)
    log(tmp_path, "20260103_000000", (), loss=1.0, top1=50)
    assert read_run(tmp_path).curves["accuracy/top1"][1].tolist() == [51]


def test_work_dir_without_a_log_is_told(tmp_path):
    with pytest.raises(ValueError, match=r"holds no training log"):
        read_run(tmp_path)


def test_first_epoch_that_reaches_a_value():
    curve = (np.array([4, 8, 12]), np.array([10.0, 30.0, 20.0]))
    assert [epochs_to_reach(curve, value) for value in (10, 15, 30, 31)] == [4, 8, 8, None]


def test_mean_runs_over_the_epochs_that_all_runs_have():
    a = (np.array([1, 2, 3]), np.array([1.0, 2.0, 3.0]))
    b = (np.array([2, 3, 4]), np.array([4.0, 9.0, 9.0]))
    epochs, mean, low, high = (values.tolist() for values in mean_curve([a, b]))
    assert (epochs, mean, low, high) == ([2, 3], [3, 6], [2, 3], [4, 9])


def test_figure_has_a_panel_for_what_was_logged_and_a_band_for_several_runs(tmp_path):
    for name, loss in (("a", 2.0), ("b", 3.0), ("c", 1.0)):
        log(tmp_path / name, "20260101_000000", (1, 2), loss=loss, top1=10)
    runs = {"plain": [read_run(tmp_path / n) for n in "ab"], "aal": [read_run(tmp_path / "c")]}
    axes = plot_curves(runs).axes
    titles = [panel.get_title() for panel in axes]
    assert titles == ["validation top-1 (%)", "training loss, without links"]
    assert [text.get_text() for text in axes[0].get_legend().get_texts()] == [
        "plain (2 runs)",
        "aal",
    ]
    assert len(axes[1].collections) == 1 and axes[1].get_xlabel() == "epoch"
    assert axes[1].lines[0].get_ydata().tolist() == [3.0, 3.0]
