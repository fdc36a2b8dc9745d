import json
import os
import runpy
import sys
from pathlib import Path

import pytest
from mmengine.config import Config

from tools.studies.trainings import Training, run_trainings

ROOT = Path(__file__).resolve().parents[2]
SCRIPT = r"""
import sys
from pathlib import Path

runs = Path(__file__).with_name("runs")
runs.write_text(runs.read_text() + "x" if runs.exists() else "x")
import json, os, runpy

cfg = runpy.run_path(sys.argv[1])  # importing MMEngine takes seconds
for name, lines in (("new", [11.0, cfg["top1"]]), ("old", [99.0])):
    scalars = Path(cfg["work_dir"]) / name / "vis_data" / "scalars.json"
    scalars.parent.mkdir(parents=True, exist_ok=True)
    scalars.write_text("".join(
        json.dumps({} if value is None else {"accuracy/top1": value}) + "\n" for value in lines
    ))
os.utime(scalars, (0, 0))  # of an earlier training, though its name sorts last
print("Epoch(train)  [1][2/2]  loss: 1.0")
print("Epoch(val)  [1][2/2]  accuracy/top1: 0.0")
print("threads", os.environ["OMP_NUM_THREADS"])
if "fail" in Path(sys.argv[1]).read_text():
    sys.exit("out of memory")
"""


@pytest.fixture
def train(tmp_path):
    """A training script that counts its runs in the file beside it."""
    script = tmp_path / "train.py"
    script.write_text(SCRIPT)
    return script


def training(folder, **settings):
    settings = dict(dict(train_cfg=dict(max_epochs=1), top1=12.5), **settings)
    cfg = Config(dict(settings, work_dir=str(folder / "run")))
    return Training("training", cfg)


def runs(train):
    return len((train.parent / "runs").read_text())


def test_a_run_is_kept_while_its_config_and_its_teacher_stay(tmp_path, train):
    teacher = tmp_path / "teacher.pth"
    teacher.write_bytes(b"weights")
    settings = dict(model=dict(heads=[dict(teacher=dict(checkpoint=str(teacher)))]))
    for _ in range(2):
        (result,) = run_trainings([training(tmp_path, **settings)], train, jobs=1)
        assert result["top1"] == 12.5 and result["checkpoint"].endswith("run/epoch_1.pth")
    assert runs(train) == 1
    teacher.write_bytes(b"trained anew")
    run_trainings([training(tmp_path, **settings)], train, jobs=1)
    assert runs(train) == 2
    run_trainings([training(tmp_path, lr=2, **settings)], train, jobs=1)
    assert runs(train) == 3


def test_a_failure_names_the_log_and_is_run_again(tmp_path, train):
    for count in (1, 2):
        with pytest.raises(RuntimeError, match=r"(?s)out of memory.*training failed.*train\.log"):
            run_trainings([training(tmp_path, note="fail")], train, jobs=1)
        assert runs(train) == count


def test_a_run_that_logs_no_top1_is_no_result(tmp_path, train):
    with pytest.raises(RuntimeError, match="logged no accuracy/top1"):
        run_trainings([training(tmp_path, top1=None, note="no 11.0")], train_without(train), jobs=1)
    assert not (tmp_path / "run" / "result.json").exists()


def train_without(train):
    train.write_text(train.read_text().replace('[11.0, cfg["top1"]]', '[cfg["top1"]]'))
    return train


@pytest.mark.parametrize(("given", "expected"), [("7", "7"), ("", None)])
def test_a_given_number_of_threads_is_respected(tmp_path, train, monkeypatch, given, expected):
    monkeypatch.setenv("OMP_NUM_THREADS", given)
    run_trainings([training(tmp_path)], train, jobs=1)
    threads = (tmp_path / "run" / "train.log").read_text().split("threads ")[1].split()[0]
    assert threads == (expected or str(len(os.sched_getaffinity(0))))


def compare(monkeypatch, *arguments):
    monkeypatch.setattr(sys, "argv", ["compare.py", *map(str, arguments)])
    runpy.run_path(str(ROOT / "tools" / "compare.py"), run_name="__main__")


def test_table_has_mean_and_deviation_of_what_was_run(tmp_path, monkeypatch, capsys):
    config = tmp_path / "tiny.py"
    config.write_text("train_cfg = dict(max_epochs=1)\n")
    for seed, top1 in enumerate((10.0, 14.0)):
        cfg = Config.fromfile(config)
        cfg.merge_from_dict({"randomness.seed": seed})
        cfg.work_dir = f"{tmp_path}/tiny/seed{seed}"
        kept = dict(top1=top1, config=cfg.pretty_text, weights={})
        Path(cfg.work_dir).mkdir(parents=True)
        Path(cfg.work_dir, "result.json").write_text(json.dumps(kept))
    out = tmp_path / "table.md"
    compare(monkeypatch, config, "--seeds", 0, 1, "--work-dir", tmp_path, "--out", out)
    assert "| tiny | 12.0 ± 2.8 | 10.0 14.0 |" in out.read_text()
    assert out.read_text().strip() in capsys.readouterr().out
    compare(monkeypatch, config, "--seeds", 0, "--work-dir", tmp_path)
    shown = capsys.readouterr().out
    assert "| tiny | 10.0 | 10.0 |" in shown and "nan" not in shown  # one run has no deviation


def test_configs_of_one_name_are_refused_since_they_would_share_a_folder(
    tmp_path, monkeypatch, capsys
):
    with pytest.raises(SystemExit, match="2"):
        compare(monkeypatch, tmp_path / "a" / "tiny.py", tmp_path / "b" / "tiny.py")
    assert "['tiny']: several configs have this name" in capsys.readouterr().err
