import csv
import json
import shutil

import numpy as np
import pytest
import torch

from aal_plugin.report.runs import read_groups, read_recorded_run


def test_runs_that_differ_by_their_seed_are_one_group(work_dirs):
    groups = read_groups([str(folder) for folder in work_dirs])
    assert {name: len(runs) for name, runs in groups.items()} == {"aal": 2, "plain": 1}
    assert [run.seed for run in groups["aal"]] == [0, 1]


def test_given_names_make_the_groups(work_dirs):
    groups = read_groups([f"all={folder}" for folder in work_dirs])
    assert [len(runs) for runs in groups.values()] == [3] and list(groups) == ["all"]


def test_groups_of_one_name_and_other_settings_are_told_apart(work_dirs, tmp_path):
    other = shutil.copytree(work_dirs[2], tmp_path / "other" / "plain")
    (config,) = other.glob("*/vis_data/config.py")
    config.write_text(config.read_text().replace("lr=0.001", "lr=0.002"))
    assert list(read_groups([str(work_dirs[2]), str(other)])) == ["plain", "plain (2)"]


def test_facts_of_a_run_are_those_of_its_config(work_dirs):
    run = read_recorded_run(work_dirs[0])
    assert run.facts == {
        "Student": "VisionTransformer (3 blocks, 2 heads, width 16, 24 px)",
        "Data": "ShapesDataset, 40 images",
        "Teacher": "test_resnet, random weights",
        "Links": "full",
        "λ": "2000, gammas (0.5, 0.1), milestones (2,)",
        "Optimizer": "AdamW, lr 0.001",
    }
    assert run.versions["PyTorch"] == torch.__version__
    assert (run.planned, run.steps, run.batch_size, run.unit) == (2, 8, 10, "epoch")
    assert run.checkpoint.name == "epoch_2.pth" and run.scheduled


@pytest.mark.parametrize(
    ("teacher", "words"),
    [
        (
            dict(model=dict(type="torchvision.models.resnet18"), checkpoint="runs/own.pth"),
            "resnet18, weights of own.pth",
        ),
        (dict(config="resnet34_8xb32_in1k", checkpoint=True), "resnet34_8xb32_in1k, pretrained w"),
        (dict(config="configs/cnn.py", checkpoint="a/b.pth"), "cnn, weights of b.pth"),
    ],
)
def test_every_kind_of_teacher_has_a_name(work_dirs, tmp_path, teacher, words):
    folder = shutil.copytree(work_dirs[0], tmp_path / "run")
    (config,) = folder.glob("*/vis_data/config.py")
    with open(config, "a") as file:
        file.write(f"\nmodel = dict(teacher={teacher})\n")
    assert read_recorded_run(folder).facts["Teacher"].startswith(words)


def test_links_of_every_epoch_are_the_hooks_records(work_dirs):
    run = read_recorded_run(work_dirs[0])
    (file,) = work_dirs[0].glob("*/vis_data/link_strength.json")
    lines = [json.loads(line) for line in file.read_text().splitlines()]
    assert sorted(run.links.by_epoch) == [line["epoch"] for line in lines] == [0, 1, 2]
    for line in lines:  # six linked heads: 1 / (2 √6) at the start
        expected = np.array(line["strength"]) * 2 * 6**0.5
        np.testing.assert_allclose(run.links.by_epoch[line["epoch"]], expected)


def test_links_come_from_checkpoints_where_no_hook_recorded_them(work_dirs, tmp_path):
    folder = shutil.copytree(work_dirs[0], tmp_path / "run")
    for file in folder.glob("*/vis_data/link_strength.json"):
        file.unlink()
    run = read_recorded_run(folder)
    assert sorted(run.links.by_epoch) == [1, 2] and "checkpoints" in run.links.source
    recorded = read_recorded_run(work_dirs[0]).links
    assert recorded.label == run.links.label and recorded.source != run.links.source
    for epoch, strength in run.links.by_epoch.items():
        np.testing.assert_allclose(strength, recorded.by_epoch[epoch], atol=1e-5)


def test_results_of_a_test_and_the_clock_are_read(work_dirs, tmp_path):
    folder = shutil.copytree(work_dirs[2], tmp_path / "run")
    tested = folder / "20260101_000000"
    tested.mkdir()
    (tested / "20260101_000000.json").write_text('{"localization/maxboxacc": 41.5}')
    (folder / "result.json").write_text('{"seconds": 12.5, "top1": 3.0}')
    run = read_recorded_run(folder)
    assert run.tested["localization/maxboxacc"] == 41.5 and run.seconds == 12.5


def test_teacher_that_was_trained_here_has_a_top1_of_its_own(work_dirs, tmp_path):
    folder = shutil.copytree(work_dirs[2], tmp_path / "run")
    (config,) = folder.glob("*/vis_data/config.py")
    checkpoint = work_dirs[0] / "epoch_2.pth"
    config.write_text(f"model = dict(teacher=dict(type='MMTeacher', checkpoint='{checkpoint}'))")
    (log,) = work_dirs[0].glob("*/vis_data/scalars.json")
    lines = [json.loads(line) for line in log.read_text().splitlines()]
    best = max(line["accuracy/top1"] for line in lines if "accuracy/top1" in line)
    assert read_recorded_run(folder).teacher_own_top1 == best


def test_timm_run_has_the_numbers_of_its_summary(timm_dir):
    run = read_recorded_run(timm_dir)
    with open(timm_dir / "summary.csv") as file:
        rows = list(csv.DictReader(file))
    assert [int(row["epoch"]) for row in rows] == [0, 1, 2]
    for key, column in (
        ("link_weight", "train_link_weight"),
        ("link_distance", "train_link_distance"),
        ("loss_with_links", "train_loss"),
        ("loss", "train_task_loss"),
        ("accuracy/top1", "eval_top1"),
    ):
        assert run.curves[key][0].tolist() == [1, 2, 3]
        assert run.curves[key][1].tolist() == [float(row[column]) for row in rows]
    assert run.curves["link_weight"][1].tolist() == [2000.0, 1000.0, 500.0]
    assert (run.seed, run.planned, run.front_end) == (42, 3, "timm")
    assert run.facts["Teacher"] == "test_resnet, random weights"
    assert run.facts["λ"] == "2000, gammas [0.5]"


def test_links_of_a_timm_run_are_those_of_its_checkpoints(timm_dir):
    run = read_recorded_run(timm_dir)
    assert sorted(run.links.by_epoch) == [1, 2, 3]
    for epoch, strength in run.links.by_epoch.items():
        saved = torch.load(timm_dir / f"checkpoint-{epoch - 1}.pth.tar", weights_only=True)
        weights = saved["task_state"]["links"]["state_dict"]
        for level, row in enumerate(strength):
            weight = weights[f"links.{level}.weight"]  # three blocks of two heads
            expected = [weight[:, 2 * b : 2 * b + 2].abs().mean().item() for b in range(3)]
            assert (row / (2 * 6**0.5)).tolist() == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize("there", [True, False])
def test_folder_without_a_run_is_named(tmp_path, there):
    folder = tmp_path / "empty"
    if there:
        folder.mkdir()
    words = "holds no training run" if there else "is not a folder"
    with pytest.raises(ValueError, match=rf"empty' {words}; give a work dir of MMPretrain"):
        read_groups([str(folder)])
