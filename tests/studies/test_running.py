"""A study runs what is missing, chooses on validation images, and stores what it ran."""

import json
import sys

import pytest
from mmengine.config import Config

from tools.studies.choosing import chosen_points, runs_of
from tools.studies.records import Records
from tools.studies.running import run_study
from tools.studies.study import Point, read_study

# Stands in for tools/train.py: logs what the config tells, and the test split with --test. It reads
# the dumped config as Python, for importing MMEngine takes seconds.
TRAIN = r"""
import json, runpy, sys
from pathlib import Path

cfg = runpy.run_path(sys.argv[1])
lr, seed, work_dir = cfg["lr"], cfg["randomness"]["seed"], Path(cfg["work_dir"])
with open(Path(__file__).with_name("runs.txt"), "a") as runs:
    print(cfg["name"], lr, seed, file=runs)
if seed == 1 and Path("full").exists():
    sys.exit("out of memory")
folder = work_dir / "20260101_000000"
(folder / "vis_data").mkdir(parents=True)
val = 100 * lr + seed
lines = [dict(lr=lr, loss=2.0, epoch=1, step=1), {"accuracy/top1": val, "step": 1}]
(folder / "vis_data" / "scalars.json").write_text("".join(json.dumps(x) + "\n" for x in lines))
(work_dir / "epoch_1.pth").write_bytes(b"weights")
print("Epoch(train)  [1][2/2]  loss: 1.0")
assert "--test" in sys.argv or cfg["name"] == "teacher"
(folder / "20260101_000000.json").write_text(json.dumps({"accuracy/top1": 90 - val, "time": 3}))
"""
STUDY = """
question: Which one?
first: {teacher: {config: teacher.py}}
arms:
  plain: {config: plain.py}
  AAL: {config: plain.py, options: {name: AAL}}
settings:
  lr: {"0.1": {lr: 0.1}, "0.2": {lr: 0.2}}
seeds: [0, 1, 2]
"""


@pytest.fixture
def home(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    base = "train_cfg = dict(max_epochs=1)\nrandomness = dict(seed=0)\nlr = 0.1\n"
    teacher = "model = dict(checkpoint='work_dirs/teacher/epoch_1.pth')\n"
    (tmp_path / "plain.py").write_text(base + teacher + "name = 'plain'\n")
    (tmp_path / "teacher.py").write_text(
        base + "name = 'teacher'\nwork_dir = 'work_dirs/teacher'\n"
    )
    (tmp_path / "train.py").write_text(TRAIN)
    return tmp_path


def run(home, text=STUDY, **options):
    (home / "fair.yml").write_text(text)
    study, records = read_study(home / "fair.yml"), Records(home / "fair.json")
    run_study(study, records, home / "train.py", **options)
    return study, Records(home / "fair.json")  # as the next reader finds it


def ran(home):
    file = home / "runs.txt"
    lines = file.read_text().splitlines() if file.exists() else []
    file.unlink(missing_ok=True)
    return sorted(lines)


def test_every_run_is_stored_and_never_run_again(home):
    _, records = run(home, jobs=2)
    everything = [
        f"{arm} {lr} {seed}" for arm in ("AAL", "plain") for lr in (0.1, 0.2) for seed in range(3)
    ]
    assert ran(home) == [*everything, "teacher 0.1 0"]
    first = records.runs[0]
    assert (first.arm, dict(first.values), first.seed) == ("AAL", {"lr": "0.1"}, 0)
    assert first.test == {"accuracy/top1": 80.0}  # no time among the metrics
    assert first.curves["accuracy/top1"] == [[1], [10.0]] and first.last("loss") == 2.0
    assert "torch" in first.versions and first.processor and first.seconds > 0
    assert list(first.weights) == ["work_dirs/teacher/epoch_1.pth"]
    assert len(records.configs) == 4 and "name = 'AAL'" in records.configs[first.config]
    assert str(home) not in (home / "fair.json").read_text()
    assert not list((home / "work_dirs" / "studies").rglob("*.pth"))
    run(home)
    assert ran(home) == []


def test_a_seed_stands_where_the_options_say_so(home):
    """So that each seed may train on other images; a number alone stays a number."""
    text = STUDY.replace("{name: AAL}", '{name: "maps-{seed}", train_cfg.seen: "{seed}"}')
    _, records = run(home, text)
    assert [line for line in ran(home) if line.startswith("maps")] == [
        f"maps-{seed} {lr} {seed}" for seed in range(3) for lr in (0.1, 0.2)
    ]
    cfgs = sorted((home / "work_dirs" / "studies").rglob("trial.py"))
    seen = {Config.fromfile(path).train_cfg.get("seen") for path in cfgs}
    assert seen == {None, 0, 1, 2}
    first = [run for run in records if (run.arm, run.values["lr"]) == ("AAL", "0.1")]
    assert len({run.config for run in first}) == 1  # three seeds of one config


def test_an_interrupted_study_goes_on(home):
    (home / "full").touch()
    with pytest.raises(RuntimeError, match="out of memory"):
        run(home)
    assert "plain 0.1 1" in ran(home)
    stored = len(Records(home / "fair.json").runs)
    assert 1 <= stored < 12
    (home / "full").unlink()
    run(home)
    assert len(ran(home)) == 12 - stored
    run(home, STUDY.replace("2]", "2, 3]"))  # a further seed
    assert ran(home) == ["AAL 0.1 3", "AAL 0.2 3", "plain 0.1 3", "plain 0.2 3"]


def test_the_best_on_validation_images_runs_with_all_seeds(home):
    study, records = run(home, STUDY + "choose: [lr]\n")
    # Validation prefers 0.2, the test images 0.1: the choice never looks at them.
    assert [str(point) for point in chosen_points(study, records)] == [
        "plain, lr 0.2",
        "AAL, lr 0.2",
    ]
    counts = {lr: len(runs_of(Point("AAL", (("lr", lr),)), records)) for lr in ("0.1", "0.2")}
    assert counts == {"0.1": 1, "0.2": 3}
    assert len(ran(home)) == 1 + 2 * 2 + 2 * 2


def test_another_teacher_is_told_before_anything_runs(home):
    run(home)
    ran(home)
    (home / "work_dirs/teacher/epoch_1.pth").write_bytes(b"other weights")
    with pytest.raises(
        ValueError, match=r"plain, lr 0\.1: .*work_dirs/teacher/epoch_1\.pth.*--results"
    ):
        run(home)
    run(home, other_weights=True)
    assert ran(home) == []


def test_a_changed_config_replaces_its_own_runs_alone(home):
    run(home)
    ran(home)
    _, records = run(home, STUDY.replace("name: AAL", "name: AAL, extra: 1"))
    assert ran(home) == [f"AAL {lr} {seed}" for lr in (0.1, 0.2) for seed in range(3)]
    assert len(records.runs) == 12 and len(records.configs) == 4
    one = STUDY.replace("name: AAL", "name: AAL, extra: 2").replace("[0, 1, 2]", "[0]")
    _, records = run(home, one)
    aal = [(run.seed, run.config) for run in records if run.arm == "AAL"]
    assert len(aal) == 2 and {seed for seed, _ in aal} == {0}  # none of an earlier config


def test_a_study_that_gains_a_setting_keeps_and_uses_its_runs(home):
    run(home, STUDY[: STUDY.index("settings:")] + "seeds: [0, 1, 2]\n")
    assert len(ran(home)) == 7  # both arms, three seeds, and the teacher
    study, records = run(home)  # lr 0.1 is what the configs say
    assert ran(home) == [f"{arm} 0.2 {seed}" for arm in ("AAL", "plain") for seed in range(3)]
    assert [len(runs_of(point, records)) for point in study.points()] == [3, 3, 3, 3]
    assert len(records.runs) == 18


def test_arms_whose_names_differ_in_signs_alone_have_folders_of_their_own(home):
    both = "  A + B: {config: plain.py, options: {name: sum}}\n  A B: {config: plain.py}\n"
    text = STUDY[: STUDY.index("  plain:")] + both + STUDY[STUDY.index("settings:") :]
    _, records = run(home, text)
    assert len(records.runs) == 12
    assert sum(line.startswith("sum") for line in ran(home)) == 6


def test_a_run_of_another_study_beside_it_is_not_run_again(home):
    run(home)
    ran(home)
    other = STUDY.replace("  AAL:", "  AAL of old:").replace("2]", "2, 3]")
    (home / "other.yml").write_text(other)
    study, records = read_study(home / "other.yml"), Records(home / "other.json")
    run_study(study, records, home / "train.py")
    assert ran(home) == ["AAL 0.1 3", "AAL 0.2 3", "plain 0.1 3", "plain 0.2 3"]
    stored = Records(home / "other.json")
    assert len(stored.runs) == 16 and {run.arm for run in stored} == {"plain", "AAL of old"}
    of_old = runs_of(Point("AAL of old", (("lr", "0.2"),)), stored)
    assert [run.test["accuracy/top1"] for run in of_old] == [70.0, 69.0, 68.0, 67.0]


def test_a_file_of_something_else_is_named(home):
    (home / "fair.json").write_text(json.dumps([1, 2]))
    with pytest.raises(ValueError, match="fair.json holds no results of a study"):
        Records(home / "fair.json")


def test_command_line_runs_a_study(home, monkeypatch, capsys):
    import runpy
    from pathlib import Path

    root = Path(__file__).resolve().parents[2]
    run(home)
    monkeypatch.setattr(sys, "argv", ["compare.py", "fair.yml"])
    runpy.run_path(str(root / "tools" / "compare.py"), run_name="__main__")
    shown = capsys.readouterr().out
    assert "Which one?" in shown and "| AAL, lr 0.2 | 69.0 ± 1.0 (3) |" in shown
    for wrong, words in (
        (["fair.yml", "plain.py"], "give one study at a time"),
        (["fair.yml", "--seeds", "0"], "--seeds: a study names its own"),
        (["plain.py", "--keep-results"], r"--keep-results: only a study"),
    ):
        monkeypatch.setattr(sys, "argv", ["compare.py", *wrong])
        with pytest.raises(SystemExit, match="2"):
            runpy.run_path(str(root / "tools" / "compare.py"), run_name="__main__")
        assert words in capsys.readouterr().err
