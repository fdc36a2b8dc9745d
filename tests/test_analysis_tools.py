"""The tools of tools/analysis as a user calls them, on a run of two epochs."""

import runpy
import shutil
import sys
from pathlib import Path

import pytest
import torch
from mmengine.config import Config
from mmengine.runner import Runner
from PIL import Image

from .mm.small import AAL, PLAIN, build, training

TOOLS = Path(__file__).resolve().parents[1] / "tools" / "analysis"


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """Work dirs of an AAL run, with heatmaps, and of a plain one, and their configs."""
    folder = tmp_path_factory.mktemp("runs")
    for name, model in (("aal", AAL), ("plain", PLAIN)):
        config = training(folder / name, model, images=20)
        if name == "aal":
            config.default_hooks.links = dict(type="LinkHeatmapHook")
        config.dump(str(folder / f"{name}.py"))
        Runner.from_cfg(config).train()
    return folder


@pytest.fixture
def tool(monkeypatch, capsys):
    def call(name, *arguments):
        monkeypatch.setattr(sys, "argv", [name, *map(str, arguments)])
        runpy.run_path(str(TOOLS / f"{name}.py"), run_name="__main__")
        return capsys.readouterr().out

    return call


@pytest.fixture
def message(tool, capsys):
    def call(name, *arguments):
        with pytest.raises(SystemExit, match="2"):
            tool(name, *arguments)
        return capsys.readouterr().err.strip().splitlines()[-1]

    return call


def test_links_of_checkpoints_are_drawn_side_by_side_with_their_numbers(run, tool, tmp_path):
    checkpoints = [run / "aal" / f"epoch_{epoch}.pth" for epoch in (1, 2)]
    tool("plot_links", *checkpoints, tmp_path / "new" / "links.png", "--keep", 0.5)
    with Image.open(tmp_path / "new" / "links.png") as figure:
        assert figure.width > 1.5 * figure.height
    rows = (tmp_path / "new" / "links.csv").read_text().splitlines()
    assert len(rows) == 1 + 2 * 4 * 3 and rows[1].startswith("aal/epoch_1,1,1,0.")
    strength, growth = map(float, rows[1].split(",")[3:])
    assert growth == pytest.approx(strength * 2 * 6**0.5, rel=1e-4)  # six heads; 1/(2√6) at first
    tool("plot_links", *checkpoints, tmp_path / "absolute.png", "--absolute", "--keep", 0.5)
    one, other = (tmp_path / name for name in ("new/links.png", "absolute.png"))
    assert one.read_bytes() != other.read_bytes()
    tool("plot_links", checkpoints[0], tmp_path / "heads.png", "--heads", "--names", "mine")
    rows = (tmp_path / "heads.csv").read_text().splitlines()
    assert (
        rows[0] == "run,level,block,head,mean_abs_weight,times_its_start" and len(rows) == 1 + 4 * 6
    )
    assert rows[-1].startswith("mine,4,3,2,0.")


def test_selected_links_train_as_they_are_written(run, tool, tmp_path):
    out = tmp_path / "chosen" / "links.py"
    text = tool(
        "select_links", run / "aal" / "epoch_2.pth", "--keep", 0.5, "--base", run / "aal.py",
        "--out", out,
    )  # fmt: skip
    config = Config.fromfile(out)
    links = [tuple(pair) for pair in config.model.link_head.links]
    assert len(links) == 4 and all(last - first < 2 for first, last in links)
    assert config.model.type == "AALClassifier"
    assert f"model.link_head.links={links}".replace(" ", "") in text
    for column in ("selected", "even", "grew", "rest", "alpha", "beta", "full"):
        assert column in text
    config.work_dir = str(tmp_path / "work")
    config.train_cfg.max_epochs = 1
    Runner.from_cfg(config).train()
    again = tool("select_links", tmp_path / "work" / "epoch_1.pth", "--out", tmp_path / "l.py")
    assert "the checkpoint's links were selective already" in again
    row = next(line.split() for line in text.splitlines() if line.split()[:1] == ["1"])
    assert 0.5 <= float(row[2]) < 1  # what the selected blocks hold
    assert all(0.5 < float(value) < 2 for value in row[4:6])  # two epochs change links little
    assert "_base_" not in (tmp_path / "l.py").read_text()


def test_links_over_the_epochs_from_the_hooks_records_or_from_checkpoints(run, tool, tmp_path):
    assert "epochs 0, 1, 2" in tool("links_over_epochs", run / "aal", tmp_path / "links.gif")
    with Image.open(tmp_path / "links.gif") as gif:
        assert gif.n_frames == 3
    for epoch in (1, 2):
        shutil.copy(run / "aal" / f"epoch_{epoch}.pth", tmp_path)
    assert "epochs 1, 2" in tool("links_over_epochs", tmp_path, tmp_path / "strip.png")
    assert (tmp_path / "strip.png").is_file()


def test_attention_sheets_of_the_validation_set_and_of_a_folder(run, tool, tmp_path):
    checkpoint = run / "aal" / "epoch_2.pth"
    tool("show_attention", run / "aal.py", checkpoint, "--count", 2, "--blocks", 2, "--channels", 1)
    beside = run / "aal" / "attention"
    assert sorted(path.name for path in beside.iterdir()) == ["val-0.png", "val-1.png"]
    plain = run / "plain" / "epoch_2.pth"
    tool(
        "show_attention", run / "plain.py", plain, beside, "--out", tmp_path, "--blocks", 1
    )  # sheets are images, too
    assert sorted(path.name for path in tmp_path.glob("*.png")) == ["val-0.png", "val-1.png"]


def test_students_are_shown_on_the_same_images(run, tool, message, tmp_path):
    students = []
    for name in ("plain", "aal"):
        students += ["--student", name, run / f"{name}.py", run / name / "epoch_2.pth"]
    out = tmp_path / "both.png"
    tool("compare_attention", out, *students, "--count", 3, "--threshold", 0.2, 0.5)
    with Image.open(out) as figure:
        assert 0.8 < figure.width / figure.height < 1.3  # three images, in three rows
    found = tmp_path / "found.png"
    tool("compare_attention", found, *students, "--count", 3, "--threshold-images", 5)
    tool("compare_attention", tmp_path / "none.png", *students, "--count", 3, "--threshold", 2, 2)
    assert found.read_bytes() != (tmp_path / "none.png").read_bytes()
    assert "--threshold: give 2 values" in message(
        "compare_attention", out, *students, "--threshold", 0.2
    )


def test_runs_are_compared(run, tool, tmp_path):
    shutil.copytree(run / "aal", run / "lr=0.1", dirs_exist_ok=True)
    text = tool(
        "compare_runs", run / "plain", f"ours={run / 'lr=0.1'}", f"ours={run / 'aal'}",
        tmp_path / "curves.png", "--reach", 0, 101,
    )  # fmt: skip
    plain, ours = (line.split() for line in text.splitlines() if line[:5] in ("plain", "ours "))
    assert plain[:2] == ["plain", "1"] and plain[-2:] == ["1", "never"]
    assert ours[:2] == ["ours", "2"] and ours[-2:] == ["1", "0/2"]
    assert (tmp_path / "curves.png").is_file()


def test_what_a_tool_cannot_do_is_said_in_one_line(run, message, tmp_path):
    plain = run / "plain" / "epoch_2.pth"
    for name, rest in (("plot_links", ["o.png"]), ("select_links", [])):
        told = message(name, plain, *rest)
        assert told.startswith(f"{name}.py: error: checkpoint") and "has no attention links" in told
    assert "neither records of LinkHeatmapHook nor epoch_" in message(
        "links_over_epochs", tmp_path, "o.png"
    )
    assert "has no attention links" in message("links_over_epochs", run / "plain", "o.png")
    wrong = message("show_attention", run / "aal.py", plain)
    assert "error: checkpoint" in wrong and "does not fit the config" in wrong
    (tmp_path / "empty").mkdir()
    told = message("show_attention", run / "plain.py", plain, tmp_path / "empty")
    assert "error: folder" in told and "has no image" in told
    assert "holds no training run" in message("compare_runs", tmp_path, "o.png")
    assert "logged no accuracy/top5; it has accuracy/top1" in message(
        "compare_runs", run / "plain", "o.png", "--metric", "accuracy/top5"
    )


def test_checkpoints_of_plain_and_aal_students_are_compared(tool, tmp_path):
    arguments = [tmp_path / "out.png"]
    student = build(PLAIN).state_dict()
    for name, model in (("plain", PLAIN), ("aal", AAL)):
        config = training(tmp_path / name, model)
        config.test_dataloader = config.val_dataloader
        config.dump(tmp_path / f"{name}.py")
        saved = dict(state_dict=dict(build(model).state_dict(), **student))
        if name == "aal":  # as EMAHook saves: its averages first, the raw weights beside them
            raw = {f"module.{key}": weight for key, weight in saved["state_dict"].items()}
            saved.update(state_dict=build(model, seed=9).state_dict(), ema_state_dict=raw)
        torch.save(saved, tmp_path / f"{name}.pth")
        arguments += [tmp_path / f"{name}.py", tmp_path / f"{name}.pth"]
    head, _, *rows = tool("agreement", *arguments).splitlines()
    assert head == "| | labels | plain | aal |"
    # The same student twice: they agree with each other, and seldom with the labels.
    (_, *labels), (_, *plain), (_, *aal) = (row.strip("| ").split(" | ") for row in rows)
    errors = labels[1]
    assert 0.5 < float(errors) <= 1
    assert [labels, plain, aal] == [
        ["0.000", errors, errors],
        [errors, "0.000", "0.000"],
        [errors, "0.000", "0.000"],
    ]
    assert (tmp_path / "out.png").stat().st_size > 1000
