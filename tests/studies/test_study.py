"""A study's file: what it holds, and mistakes in it."""

import pytest

from tools.studies.study import Point, read_study


@pytest.fixture
def write(tmp_path, monkeypatch):
    """Writes a study beside a config, and returns its path."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "plain.py").write_text("train_cfg = dict(max_epochs=1)\n")

    def writer(text):
        path = tmp_path / "fair.yml"
        path.write_text(text)
        return path

    return writer


WHOLE = """
question: Which one?
arms:
  plain: {config: plain.py}
  AAL: {config: plain.py, options: {model.lam: 2}, seeds: 2}
settings:
  lr:
    0.001: {optim.lr: 0.001}
    0.002: {optim.lr: 0.002, model.lam: 5}
  epochs: {20: {train_cfg.max_epochs: 20}, 60: {train_cfg.max_epochs: 60}}
choose: [lr]
baseline: plain
columns: epochs
seeds: [0, 1, 2]
"""


def test_points_are_every_arm_with_every_combination(write):
    study = read_study(write(WHOLE))
    assert study.name == "fair"
    assert [str(point) for point in study.points()] == [
        f"{arm}, lr {lr}, epochs {epochs}"
        for arm in ("plain", "AAL")
        for lr in ("0.001", "0.002")
        for epochs in ("20", "60")
    ]


def test_a_setting_is_stronger_than_its_arm(write):
    study = read_study(write(WHOLE))
    point = Point("AAL", (("lr", "0.002"), ("epochs", "60")))
    assert study.options(point) == {
        "optim.lr": 0.002,
        "model.lam": 5,
        "train_cfg.max_epochs": 60,
    }
    assert study.seeds_of(point) == (0, 1) and study.seeds_of(Point("plain")) == (0, 1, 2)


def test_an_arm_runs_with_some_values_of_a_setting(write):
    study = read_study(write(WHOLE.replace("seeds: 2}", "only: {lr: [0.002], epochs: ['20']}}")))
    assert [str(point) for point in study.points() if point.arm == "AAL"] == [
        "AAL, lr 0.002, epochs 20"
    ]
    assert sum(point.arm == "plain" for point in study.points()) == 4


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ("question: Which one?", "", "question is missing"),
        ("choose: [lr]", "chose: [lr]", "unknown key 'chose'; did you mean 'choose'"),
        ("choose: [lr]", "choose: [lrs]", r"choose: 'lrs' is not one of \['lr', 'epochs'\]"),
        ("choose: [lr]", "choose: lr", "choose='lr'; choose a list"),
        ("baseline: plain", "baseline: none", r"baseline: 'none' is not one of \['plain', 'AAL'"),
        ("columns: epochs", "columns: images", "columns: 'images' is not one of"),
        ("seeds: [0, 1, 2]", "seeds: [0, 0]", r"seeds=\[0, 0\]; choose different whole numbers"),
        ("seeds: [0, 1, 2]", "seeds: [a]", r"seeds=\['a'\]; choose different whole numbers"),
        ("choose: [lr]", "choose_seeds: 4", "choose_seeds=4; choose from 1 to 3"),
        ("{config: plain.py}", "plain.py", "arms.plain='plain.py'; choose {config: FILE"),
        ("seeds: 2}", "seed: 2}", "arms.AAL: unknown key 'seed'"),
        ("seeds: 2}", "only: {lrs: [0.001]}}", "arms.AAL.only: 'lrs' is not one of"),
        ("seeds: 2}", "only: {lr: [0.1]}}", "arms.AAL.only.lr: '0.1' is not one of"),
        ("seeds: 2}", "only: {lr: 0.001}}", r"arms.AAL.only={'lr': 0.001}; choose {SETTING: \["),
        ("seeds: 2}", "only: [lr]}", r"arms.AAL.only=\['lr'\]; choose {SETTING: \["),
        ("{optim.lr: 0.001}", "0.001", "settings.lr.0.001=0.001; choose a mapping"),
        ("question: Which one?", "question: [", "is not YAML"),
    ],
)
def test_a_mistake_names_file_key_and_choice(write, old, new, words):
    assert old in WHOLE
    with pytest.raises(ValueError, match=words) as error:
        read_study(write(WHOLE.replace(old, new, 1)))
    assert "fair.yml" in str(error.value)


def test_a_missing_config_is_named_with_the_folder(write, tmp_path):
    with pytest.raises(FileNotFoundError, match=r"arms\.plain\.config='no\.py' does not exist in"):
        read_study(write(WHOLE.replace("{config: plain.py}", "{config: no.py}", 1)))
