"""What is read of work dirs and output folders, on real runs and on made-up ones."""

import csv
import json
import shutil

import numpy as np
import pytest
import torch
from mmengine.config import Config

from aal_plugin.report.facts import described, read_literal_config
from aal_plugin.report.runs import read_groups, read_recorded_run
from tests.mm.small import training

from .made_up_runs import curve, record, write_timm_dir, write_work_dir

HEAD = "epoch,train_loss,train_task_loss,train_link_weight,eval_top1\n"


def facts(folder, model="dict()", **settings):
    config = "".join(f"{key} = {value}\n" for key, value in dict(model=model, **settings).items())
    return read_recorded_run(write_work_dir(folder, config)).facts


def timm_facts(folder, **options):
    folder = write_timm_dir(folder, HEAD + "0,2,1,5,10\n", json.dumps(options))
    return read_recorded_run(folder).facts


@pytest.mark.parametrize(
    ("folders", "names"),
    [
        (["aal-seed0", "aal-seed1"], ["aal"]),
        (["aal-seed0"], ["aal-seed0"]),
        (["small/7"], ["small"]),
        (["small/seed-2", "small/seed-3"], ["small"]),
    ],
)
def test_name_of_a_group_is_that_of_its_folders(tmp_path, folders, names):
    for number, name in enumerate(folders):
        write_work_dir(tmp_path / name, f"lr = 1\nrandomness = dict(seed={number})\n")
    assert list(read_groups([str(tmp_path / name) for name in folders])) == names


def test_groups_of_one_name_are_numbered_after_names_that_were_given(tmp_path):
    folders = [
        write_work_dir(tmp_path / str(number) / "aal", f"lr = {number}\n") for number in range(3)
    ]
    given = [*map(str, folders), f"aal={write_work_dir(tmp_path / 'other')}"]
    assert list(read_groups(given)) == ["aal (2)", "aal (3)", "aal (4)", "aal"]


def test_recipe_is_the_settings_without_those_of_one_run(tmp_path):
    hook = "dict(type='A', work_dir='{}', every={})"
    for name, every, order in (("a", 1, 0), ("b", 1, 1), ("c", 2, 0)):
        parts = [f"hooks = [{hook.format(name, every)}]\n", "lr = 0.1\n"]
        write_work_dir(tmp_path / name, "".join(parts[::-1] if order else parts))
    bare = [write_timm_dir(tmp_path / name, HEAD + "0,2,1,,10\n") for name in "de"]  # no settings
    groups = read_groups([*(str(tmp_path / name) for name in "abc"), *map(str, bare)])
    assert [[run.folder.name for run in runs] for runs in groups.values()] == [
        *(["a", "b"], ["c"], ["d"], ["e"])
    ]


def test_last_and_best_value_of_a_curve():
    run = record({"loss": curve(3, np.nan, 2), "link_distance": curve(1, 2)})
    assert (run.last("loss"), run.best("loss"), run.best("accuracy/top1")) == (2, 3, None)
    assert run.last("accuracy/top1") is None


def test_training_by_iterations_has_its_length_and_its_newest_checkpoint(tmp_path):
    lines = [dict(step=100, iter=100, lr=0.1, loss=2.0), dict(step=900, iter=900, lr=0.1, loss=1.0)]
    config = "train_cfg = dict(by_epoch=False, max_epochs=3, max_iters=1000)\n"
    folder = write_work_dir(tmp_path / "run", config, lines)
    for name in ("iter_900.pth", "iter_1000.pth"):
        (folder / name).touch()
    run = read_recorded_run(folder)
    assert (run.unit, run.planned, run.steps) == ("iteration", 1000, 900)
    assert run.checkpoint.name == "iter_1000.pth"  # by its number, not by its name
    assert run.links.by_epoch == {}


def test_config_and_versions_are_those_of_the_newest_log(tmp_path):
    old = "  PyTorch: 2.6.0+cpu\n"
    new = "    Python: 3.11.7 (main, Jan 1 2026)\n    PyTorch: 2.9.1\n    GPU 0,1: NVIDIA H100\n"
    folder = write_work_dir(tmp_path / "run", "randomness = dict(seed=1)\n", log=old)
    write_work_dir(folder, "randomness = dict(seed=2)\n", stamp="20260102_000000", log=new)
    run = read_recorded_run(folder)
    assert run.seed == 2
    assert run.versions == {"Python": "3.11.7", "PyTorch": "2.9.1", "GPU 0,1": "NVIDIA H100"}


@pytest.mark.parametrize(
    ("hook", "scheduled", "course"),
    [
        ("type='aal_plugin.mm.LambdaDecayHook', gammas=0.5", True, "gammas 0.5"),
        ("type='EMAHook', gammas=1.0", False, "constant"),
        ("type='LambdaDecayHook', _scope_='x', head='link_head', final=0.1", True, "final 0.1"),
        ("type='LambdaDecayHook', head='guidance', final=0.1", False, "constant"),
    ],
)
@pytest.mark.parametrize("key", ["default_hooks = dict(a={})", "custom_hooks = [{}]"])
def test_course_of_lambda_is_that_of_the_hook(tmp_path, key, hook, scheduled, course):
    config = "model = dict(link_head=dict(loss_weight=20.))\n" + key.format(f"dict({hook})")
    run = read_recorded_run(write_work_dir(tmp_path / "run", config))
    assert run.scheduled == scheduled and run.facts["λ"] == course
    assert run.facts["Links"] == "links full, loss_weight 20.0"


@pytest.mark.parametrize(
    ("part", "words"),
    [
        (dict(type="mmpretrain.ResNet", depth=34, init_cfg=None), "ResNet (depth 34)"),
        (
            dict(type="Swin", arch=dict(depths=[2, 2], num_heads=[3, 6]), img_size=48),
            "Swin (depths [2, 2], num_heads [3, 6], img_size 48)",
        ),
        (
            dict(type="Subset", dataset=dict(type="CUB", data_root="a/b/"), fraction=0.05),
            "Subset (dataset CUB (data_root b), fraction 0.05)",
        ),
        (
            dict(type="Teacher", model=dict(type="torchvision.resnet18"), checkpoint="runs/a.pth"),
            "Teacher (model resnet18, checkpoint a.pth)",
        ),
        (
            dict(pipeline=[dict(type="Flip")], weight=2.5, pretrained=True),
            "weight 2.5, pretrained True",
        ),
    ],
)
def test_parts_of_a_config_are_told_by_their_type_and_settings(part, words):
    assert described(part) == words


def test_guidance_and_other_losses_are_told_with_their_choices(tmp_path):
    hooks = "[dict(type='LambdaDecayHook', head='guidance', gammas=0.9)]"
    found = facts(tmp_path / "plain", "dict(guidance=3.0)")
    assert "Other losses" not in found
    assert (found["Guidance"], found["Guidance weight"]) == ("weight 3.0", "constant")
    heads = (
        "link_head=dict(links='beta'), guidance=dict(levels=[1, 4]), "
        "distill_head=dict(type='DistillHead', mode='hard'), transfer_head=dict(type='HintHead')"
    )
    found = facts(tmp_path / "chosen", f"dict({heads})", custom_hooks=hooks)
    assert found["Other losses"] == "DistillHead (mode hard); HintHead"
    assert (found["Guidance"], found["λ"]) == ("weight 2.5, levels [1, 4]", "constant")
    assert found["Guidance weight"] == "gammas 0.9"


def test_results_of_the_newest_test_win_and_other_files_are_left_out(tmp_path):
    folder = write_work_dir(tmp_path / "run")
    for stamp, text in (
        ("20260103_000000", '{"accuracy/top1": 30.0, "name": "x"}'),
        ("20260104_000000", '{"accuracy/top1": 40.0}'),
        ("20260105_000000", '{"accuracy/top1": '),
        ("20260106_000000", '["accuracy/top1"]'),
    ):
        (folder / stamp).mkdir()
        (folder / stamp / f"{stamp}.json").write_text(text)
    (folder / "result.json").write_text('{"seconds": 12.5, "top1": 3.0}')
    run = read_recorded_run(folder)
    assert run.tested == {"accuracy/top1": 40.0} and run.seconds == 12.5


@pytest.mark.parametrize(
    ("checkpoint", "top1"),
    [("'{}/epoch_2.pth'", 80.0), ("'{}/no/epoch_2.pth'", None), ("True", None)],
)
def test_teachers_own_top1_is_the_best_of_its_log(tmp_path, checkpoint, top1):
    lines = [dict(epoch=1, step=1, iter=1, lr=0.1, loss=1.0)]
    lines += [{"accuracy/top1": value, "step": step} for step, value in ((1, 80.0), (2, 70.0))]
    teacher = write_work_dir(tmp_path / "teacher", lines=lines)
    model = f"model = dict(teacher=dict(checkpoint={checkpoint.format(teacher)}))\n"
    run = read_recorded_run(write_work_dir(tmp_path / "run", model))
    assert run.teacher_own_top1 == top1


def test_timm_run_without_aal_has_the_loss_of_the_labels(tmp_path):
    folder = write_timm_dir(tmp_path / "run", "epoch,train_loss,eval_top1\n0,2.5,\n1,1.5,20\n")
    run = read_recorded_run(folder)
    assert {key: (e.tolist(), v.tolist()) for key, (e, v) in run.curves.items()} == {
        "loss": ([1, 2], [2.5, 1.5]),
        "accuracy/top1": ([2], [20.0]),
    }
    assert (run.checkpoint, run.links.by_epoch, run.settings) == (None, {}, {})
    guided = "epoch,train_loss,train_task_loss,train_guidance_loss\n0,3,2,1\n"
    run = read_recorded_run(write_timm_dir(tmp_path / "guided", guided))
    keys = ("loss_with_links", "loss", "loss_guidance")
    assert [run.last(key) for key in keys] == [3, 2, 1]


def test_facts_of_a_timm_run_are_those_of_its_options(tmp_path):
    found = timm_facts(
        tmp_path / "run",
        model="vit_tiny",
        img_size=64,
        data_dir="data/in1k",
        aal_teacher="resnet18",
        aal_teacher_checkpoint="runs/own.pth",
        aal_links="alpha",
        aal_loss_weight=100.0,
        aal_final=0.1,
        aal_warmup_epochs=5,
        aal_stop_epoch=None,
        aal_distill="hard",
        opt="adamw",
        lr=None,
        lr_base=0.1,
    )
    assert found == {
        "Student": "model vit_tiny, img_size 64",
        "Data": "data_dir in1k",
        "Teacher": "teacher resnet18, teacher_checkpoint own.pth",
        "AAL": "links alpha, loss_weight 100.0, final 0.1, warmup_epochs 5, distill hard",
        "Optimizer": "opt adamw, lr_base 0.1",
    }
    bare = timm_facts(tmp_path / "bare", model="vit_tiny", aal_loss_weight=2000.0)
    assert bare == {"Student": "model vit_tiny"}


def test_facts_of_a_run_are_those_of_its_config(work_dirs):
    run = read_recorded_run(work_dirs[0])
    assert run.facts == {
        "Student": "VisionTransformer (embed_dims 16, feedforward_channels 32, num_heads 2, "
        "num_layers 3, img_size 24, patch_size 8)",
        "Data": "ShapesDataset (num_images 20, size 24, split train)",
        "Teacher": "TimmTeacher (allow_random_weights True, model_name test_resnet)",
        "Links": "AttentionLinkHead (links full, loss_weight 2000.0)",
        "λ": "gammas (0.5, 0.1), milestones (2,)",
        "Guidance": "weight 2.5",
        "Guidance weight": "constant",
        "Optimizer": "AdamW (lr 0.001)",
    }
    assert run.versions["PyTorch"] == torch.__version__
    assert (run.planned, run.steps, run.batch_size, run.unit) == (2, 4, 10, "epoch")
    assert run.checkpoint.name == "epoch_2.pth" and run.scheduled


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


def test_timm_run_has_the_numbers_of_its_summary_and_the_links_of_its_checkpoints(timm_dir):
    run = read_recorded_run(timm_dir)
    with open(timm_dir / "summary.csv") as file:
        rows = list(csv.DictReader(file))
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
    assert run.checkpoint == timm_dir / "last.pth.tar"
    assert run.facts["Teacher"] == "random_teacher True, teacher test_resnet"
    assert "gammas [0.5]" in run.facts["AAL"]
    assert sorted(run.links.by_epoch) == [1, 2, 3]
    for epoch, strength in run.links.by_epoch.items():
        saved = torch.load(timm_dir / f"checkpoint-{epoch - 1}.pth.tar", weights_only=True)
        weights = saved["task_state"]["links"]["state_dict"]
        for level, row in enumerate(strength):
            weight = weights[f"links.{level}.weight"]  # three blocks of two heads
            expected = [weight[:, 2 * b : 2 * b + 2].abs().mean().item() for b in range(3)]
            assert (row / (2 * 6**0.5)).tolist() == pytest.approx(expected, rel=1e-5)


def test_dumped_config_is_read_as_mmengine_reads_it(tmp_path):
    config = training(tmp_path)
    config.dump(tmp_path / "dumped.py")
    read = read_literal_config(tmp_path / "dumped.py")
    assert read == Config.fromfile(tmp_path / "dumped.py").to_dict()
    assert read["model"]["link_head"]["loss_weight"] == 2000.0


def test_nothing_in_a_config_runs(tmp_path):
    file, trace = tmp_path / "config.py", tmp_path / "ran"
    file.write_text(
        f"import os\nopen({str(trace)!r}, 'w')\n"
        f"seed = open({str(trace)!r}, 'w')\nlr = -1e-3\nother = dict(a=seed, b=[1, None])\n"
    )
    read = read_literal_config(file)
    assert not trace.exists()
    assert read["seed"].startswith("open(") and read["lr"] == -0.001
    assert read["other"] == dict(a="seed", b=[1, None])
