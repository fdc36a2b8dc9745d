"""tools/timm_train.py on a script of train.py's shape, in this process and as a user types it."""

import argparse
import math
import re
import shutil
import zipfile

import pytest
import timm.task
import torch
import yaml

from aal_plugin.core import link_weight
from aal_plugin.timm import options as options_module
from aal_plugin.timm.launched_task import build_teacher, task_settings
from aal_plugin.timm.options import add_options

from .runs import AAL, changed, on_ranks, refused, run, tool


def rows_of(capsys):
    """The metrics that the script printed, epoch by epoch."""
    lines = re.findall(r"epoch \d (\{.*\})", capsys.readouterr().out)
    return [eval(line, dict(nan=float("nan"))) for line in lines]


def lambdas(text):
    return [float(value) for value in re.findall(r"'link_weight': ([\d.]+)", text)]


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """The folder of a run with AAL as it is, and what its checkpoint holds."""
    folder = tmp_path_factory.mktemp("trained")
    return folder, run(folder, *AAL)


def test_script_trains_with_links_and_is_told_every_epoch(tmp_path, capsys):
    original = timm.task.ClassificationTask
    saved = run(tmp_path, *AAL, "--aal-loss-weight", "100", "--aal-links", "alpha", "--epochs", "3")
    printed = capsys.readouterr().out
    assert lambdas(printed) == [link_weight(epoch, 100, (0.9,)) for epoch in range(3)]
    assert len(re.findall(r"'link_distance': 0\.\d+", printed)) == 3
    assert saved["task_state"]["links"]["ranges"] == [(1, 1), (1, 2), (1, 2), (2, 3)]
    assert timm.task.ClassificationTask is original  # nothing outside the script's own names


def test_options_are_recorded_in_args_yaml(trained):
    recorded = yaml.safe_load((trained[0] / "args.yaml").read_text())
    assert recorded["aal_teacher"] == "test_resnet" and recorded["aal_random_teacher"] is True
    assert recorded["aal_gammas"] == [0.9] and recorded["aal_milestones"] == []
    assert recorded["aal_stop_epoch"] is None and recorded["aal_links"] == "full"


@pytest.mark.parametrize("extra", [[], ["--model-ema", "--aal-guidance", "1", "--channels-last"]])
def test_resumed_run_ends_as_the_unbroken_one(tmp_path, capsys, extra):
    whole = run(tmp_path / "whole", *AAL, "--epochs", "3", *extra)
    run(tmp_path / "part", *AAL, "--epochs", "2", *extra)
    path = shutil.copy(tmp_path / "part" / "last.pth.tar", tmp_path / "killed.pth.tar")
    capsys.readouterr()
    resumed = run(tmp_path / "rest", *AAL, "--epochs", "3", "--resume", str(path), *extra)
    assert lambdas(capsys.readouterr().out) == [2000 * 0.9**2]
    keys = [key for key in whole if "state" in key]
    assert len(keys) == (4 if extra else 2)
    for key in keys:
        torch.testing.assert_close(resumed[key], whole[key], rtol=0, atol=0)


def test_zero_weight_run_is_the_run_of_the_script_itself_to_the_bit(tmp_path):
    """Dropout and all: neither teacher nor links take of the student's random numbers."""
    options = ["--drop", "0.3", "--epochs", "1"]
    saved = run(tmp_path / "aal", *AAL, "--aal-loss-weight", "0", *options)
    expected = run(tmp_path / "plain", *options, aal=False)
    torch.testing.assert_close(saved["state_dict"], expected["state_dict"], rtol=0, atol=0)


def test_images_are_renormalised_from_the_means_of_the_command_line(trained, tmp_path):
    one, other = trained[1], run(tmp_path, *AAL, "--mean", "0.6", "0.6", "0.6")
    one, other = (each["state_dict"]["blocks.0.attn.qkv.weight"] for each in (one, other))
    assert not torch.equal(one, other)


TWO_LEVELS = ["--aal-guidance", "1", "--aal-guidance-blocks", "9"]
TOKEN = ["--aal-distill", "soft", "--aal-distill-token", "--aal-teacher-num-classes", "5"]


@pytest.mark.parametrize(
    "options, words",
    [
        ([], "--aal-teacher is missing; give a timm model"),
        (AAL[:2], "the teacher has no weights and would teach noise; give --aal-teacher-checkp"),
        ([*AAL[:2], "--aal-teacher-checkpoint", "no.pth"], "--aal-teacher-checkpoint: checkpoint "),
        ([*AAL, "--aal-teacher", "test_resnex"], "--aal-teacher 'test_resnex' is not a timm model"),
        ([*AAL, "--resume", "no.pth"], "--resume: checkpoint 'no.pth': no such file in "),
        ([*AAL, "--aal-teacher-pretrained"], "--aal-random-teacher, but weights are given"),
        ([*AAL[:3], "--aal-milestones", "9"], "--aal-gammas (), --aal-milestones (9,): 1 miles"),
        ([*AAL, "--aal-distill", "warm"], "--aal-distill 'warm'; choose one of ['soft', 'hard']"),
        ([*AAL, "--aal-distill-token"], "--aal-distill is missing; choose soft or hard"),
        ([*AAL, "--kd-model-name", "resnet18"], "--kd-model-name does not go with AAL"),
        ([*AAL, "--aal-final", "0.02"], "--aal-final and --aal-gammas both lower λ"),
        ([*AAL[:3], "--aal-final", "2"], "--aal-final 2.0; choose a number above 0"),
        ([*AAL, "--aal-gama=1"], "--aal-gama is not an option; near names: --aal-gammas"),
        ([*AAL, "--data-dir", ""], "--data-dir None: no such folder in "),
        ([*AAL, "--data-dir", "no"], "--data-dir 'no': no such folder in "),
        # The task's own, which train.py builds
        ([*AAL, "--aal-links", "1-3,1-2"], "--aal-links has 2 (first, last) pairs"),
        ([*AAL, "--aal-links", "none"], "links=None and guidance=None, so the teacher would have"),
        ([*AAL, *TOKEN], "--aal-distill-token, but VisionTransformer has no distillation token"),
        ([*AAL, "--aal-map-size", "0"], "--aal-map-size 0; choose a positive side"),
        ([*AAL, "--aal-loss-weight", "-1"], "--aal-loss-weight -1.0; choose a finite number, 0 "),
        ([*AAL, "--aal-gammas", "0.9", "0.8"], "--aal-gammas (0.9, 0.8), --aal-milestones (): 0 "),
        ([*AAL, "--aal-start-epoch", "-1"], "--aal-start-epoch -1; "),
        ([*AAL, *TWO_LEVELS], "--aal-guidance-blocks: 9; choose one or more numbers from 1 to 3"),
    ],
)
def test_options_that_make_no_sense_are_named(capsys, tmp_path, options, words):
    said = refused(capsys, tmp_path, *options)
    assert f"train_script.py: error: {words}" in said or (words in said and said.count("\n") == 1)


@pytest.mark.parametrize("options", [["--aal-gama", "1"], ["--no-such", "1"], ["--aal-links", "x"]])
def test_of_several_ranks_the_first_alone_tells_a_mistake(capsys, tmp_path, monkeypatch, options):
    """Torchrun ends the others while they wait."""
    waited = []
    monkeypatch.setattr(options_module.time, "sleep", waited.append)
    refused(capsys, tmp_path, *AAL, *options)
    assert waited == []
    monkeypatch.setenv("LOCAL_RANK", "1")
    refused(capsys, tmp_path, *AAL, *options)
    assert waited == [20.0]


def test_a_setting_of_a_config_file_that_no_option_has_is_rejected(capsys, tmp_path):
    """train.py's --config sets any attribute of the arguments, without a question."""
    set_by_file = ("\ndef main", "\nparser.set_defaults(aal_lamda=3.0)\n\n\ndef main")
    said = refused(capsys, tmp_path, *AAL, script=changed(tmp_path, set_by_file))
    assert "--aal-lamda is not an option" in said


def test_guidance_alone_trains_and_its_checkpoint_is_the_plain_students(trained, tmp_path, capsys):
    options = ["--aal-links", "none", "--aal-guidance", "2.5", "--aal-guidance-levels", "2", "4"]
    saved = run(tmp_path, *AAL, *options)
    rows = rows_of(capsys)
    assert all(row["guidance_loss"] > 0 and math.isnan(row["link_distance"]) for row in rows)
    assert saved["state_dict"].keys() == trained[1]["state_dict"].keys()
    assert set(saved["task_state"]) == {"guidance"}
    assert saved["task_state"]["guidance"]["pairs"] == [(1, 2), (3, 4)]


def test_named_attention_layers_train_as_the_known_family(trained, tmp_path):
    named = run(tmp_path, *AAL, "--aal-attention-layers", "blocks.*.attn")
    for key in ("state_dict", "task_state"):
        torch.testing.assert_close(named[key], trained[1][key], rtol=1e-5, atol=1e-6)


def test_the_papers_course_is_stretched_over_the_epochs_and_stays_at_its_end(tmp_path, capsys):
    """Three epochs: two of the first gamma and one of the second, which together end at 0.02.

    train.py has --cooldown-epochs, and cycles of the learning rate, after --epochs.
    """
    options = ["--aal-final", "0.02", "--epochs", "3", "--cooldown-epochs", "2"]
    run(tmp_path, *AAL[:3], *options)
    power = math.log(0.02) / (200 * math.log(0.99) + 100 * math.log(0.98))
    first = 0.99 ** (200 * power / 2)
    expected = [2000, 2000 * first, 2000 * first**2, 40, 40]
    assert lambdas(capsys.readouterr().out) == pytest.approx(expected)
    recorded = yaml.safe_load((tmp_path / "args.yaml").read_text())
    assert recorded["aal_final"] == 0.02 and recorded["aal_gammas"] is None


needs_multilabel = pytest.mark.skipif(
    not hasattr(timm.task, "MultiLabelClassificationTask"), reason="timm before 1.0.30"
)


@pytest.mark.parametrize(
    "labels", ["--bce-loss", pytest.param("--task=multilabel", marks=needs_multilabel)]
)
def test_binary_losses_train_as_in_the_script_alone(tmp_path, capsys, labels):
    """To the bit at λ = 0; with links the weights of the student are others."""
    trained = {}
    for name, options in (("zero", ["--aal-loss-weight", "0"]), ("links", [])):
        trained[name] = run(tmp_path / name, *AAL, *options, labels, "--epochs", "1")
    assert len(re.findall(r"'task_loss': \d", capsys.readouterr().out)) == 2
    expected = run(tmp_path / "plain", labels, "--epochs", "1", aal=False)["state_dict"]
    torch.testing.assert_close(trained["zero"]["state_dict"], expected, rtol=0, atol=0)
    links = trained["links"]["state_dict"]
    assert not torch.equal(links["blocks.0.attn.qkv.weight"], expected["blocks.0.attn.qkv.weight"])


@needs_multilabel
def test_distillation_of_many_labels_is_refused_before_training(tmp_path, capsys):
    options = ["--task", "multilabel", "--aal-distill", "soft", "--aal-teacher-num-classes", "5"]
    said = refused(capsys, tmp_path, *AAL, *options)
    assert ": error: --aal-distill 'soft' compares classes of which an image" in said
    assert not list(tmp_path.rglob("*.pth.tar"))


def flipped(path, copy):
    """A copy with one bit of its largest tensor flipped."""
    content = bytearray(path.read_bytes())
    with zipfile.ZipFile(path) as archive:
        tensors = [entry for entry in archive.infolist() if "/data/" in entry.filename]
    largest = max(tensors, key=lambda entry: entry.file_size)
    content[largest.header_offset + 200 + largest.file_size // 2] ^= 16
    copy.write_bytes(content)
    torch.load(copy)  # torch itself says nothing
    return copy


@pytest.mark.parametrize("option", ["--resume", "--initial-checkpoint", "--aal-teacher-checkpoint"])
def test_a_damaged_checkpoint_is_refused_before_training(trained, tmp_path, capsys, option):
    path = flipped(trained[0] / "last.pth.tar", tmp_path / "flipped.pth.tar")
    said = refused(capsys, tmp_path / "rest", *AAL, option, str(path))
    assert said.startswith(f"train_script.py: error: {option}: checkpoint ")
    assert "is damaged: " in said and "does not match its checksum" in said
    assert said.count("\n") == 1


def test_a_damaged_file_that_the_script_finds_itself_is_refused(trained, tmp_path):
    """As --resume auto does: the option names no file."""
    path = flipped(trained[0] / "last.pth.tar", tmp_path / "flipped.pth.tar")
    script = changed(tmp_path, ("    args_text", f"    args.resume = {str(path)!r}\n    args_text"))
    with pytest.raises(ValueError, match="flipped.pth.tar' is damaged"):
        run(tmp_path, *AAL, "--resume", "auto", script=script)


def test_metrics_of_every_epoch_have_the_parts_of_the_loss(tmp_path, capsys):
    """Columns of train.py's summary.csv: the same ones in every epoch, also while λ is 0."""
    options = ["--aal-distill", "soft", "--aal-teacher-num-classes", "5", "--aal-loss-weight", "3"]
    options += ["--aal-guidance", "0.5"]
    run(tmp_path, *AAL, *options, "--aal-start-epoch", "1", "--epochs", "2")
    rows = rows_of(capsys)
    assert len(rows) == 2 and rows[0].keys() == rows[1].keys()
    assert rows[0]["link_weight"] == 0 and rows[0]["link_distance"] != rows[0]["link_distance"]
    for row in rows:
        parts = 0.9 * row["task_loss"] + 0.1 * row["distill_loss"] + row["guidance_loss"]
        if row["link_weight"]:
            parts += row["link_weight"] * row["link_distance"]
        assert row["loss"] == pytest.approx(2 * parts, rel=1e-4)  # a sum over two steps


def test_options_become_settings_of_the_task():
    parser = argparse.ArgumentParser()
    add_options(parser)
    given = "--aal-links 1-2,2-3 --aal-map-size 7 --aal-antialias --aal-distill soft"
    given += (
        " --aal-distill-loss-weight 0.2 --aal-distill-temperature 4 --aal-teacher-num-classes 3"
    )
    given += " --aal-distill-reduction elements --aal-teacher-layers layer2 layer4"
    given += " --aal-teacher-image-size 96 --aal-teacher-image-channels 3 2 1"
    given += " --aal-attention-layers body.*.attn num_prefix_tokens=0 class_token=False"
    args = parser.parse_args([*AAL[:3], *given.split()])
    settings = task_settings(args)
    assert settings["links"] == [(1, 2), (2, 3)]
    assert (settings["gammas"], settings["milestones"]) == ([0.99, 0.98], [200])
    assert settings["map_size"] == 7 and settings["antialias"] is True
    named = dict(attention=["body.*.attn"], num_prefix_tokens=0, class_token=False)
    assert settings["attention_layers"] == named
    distill = settings["distill"]
    assert (distill.kind, distill.loss_weight, distill.temperature) == ("soft", 0.2, 4.0)
    assert distill.reduction == "elements"
    one, other = build_teacher(args), build_teacher(args)
    assert one.images.image_size == (96, 96) and [2, 1, 0] in one.images.key()
    assert one.layers == ["layer2", "layer4"] and one.model.num_classes == 3
    torch.testing.assert_close(one.state_dict(), other.state_dict(), rtol=0, atol=0)


def test_help_shows_the_options_of_both(capsys, tmp_path):
    with pytest.raises(SystemExit):
        run(tmp_path, "--help")
    shown = capsys.readouterr().out
    assert "number of epochs to train" in shown and "--aal-teacher-checkpoint FILE" in shown


@pytest.mark.parametrize(
    "old, new, words",
    [
        (
            "create_optimizer_v2(task.get_trainable_module(),",
            "create_optimizer_v2(model,",
            "optimizer does not have the parameters of links",
        ),
        (
            "    task = ClassificationTask(",
            "    from timm.task import ClassificationTask as Other\n    task = Other(",
            "train.py trains a ClassificationTask, so AAL would do nothing",
        ),
    ],
)
def test_script_in_which_aal_would_do_nothing_is_stopped(tmp_path, old, new, words):
    with pytest.raises(ValueError, match=words):
        run(tmp_path, *AAL, script=changed(tmp_path, (old, new)))


def test_two_ranks_with_half_the_batch_each_end_as_one_rank_with_the_whole(tmp_path):
    """On gloo without a GPU; with links and guidance, at λ = 0, and with accumulated gradients."""
    options = [*AAL, "--aal-stop-epoch", "1", "--grad-accum-steps", "2", "--model-ema"]
    options += ["--aal-guidance", "1"]
    one = run(tmp_path / "one", *options)
    on_ranks(tmp_path / "two", *options)
    two = torch.load(tmp_path / "two" / "last.pth.tar")
    for key in ("state_dict", "task_state", "state_dict_ema", "task_state_ema"):
        torch.testing.assert_close(two[key], one[key], rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize(
    ("source", "words"),
    [
        ("import timm", "lacks parser, main, train_one_epoch, ClassificationTask. The train.py of"),
        ("import sys; raise SystemExit(sys.path[0])", "{folder}"),  # before an installed timm
        (None, "no such file; give the path of timm's train.py"),
        ("", "TRAIN_PY [train.py's options]"),
    ],
)
def test_the_tool_says_which_script_it_needs(tmp_path, monkeypatch, capsys, source, words):
    path = tmp_path / "train.py"
    if source:
        path.write_text(source)
    assert words.format(folder=tmp_path) in tool(monkeypatch, capsys, *([path] * (source != "")))


def test_a_loss_that_is_no_number_ends_the_run_before_a_checkpoint_is_made_of_it(tmp_path):
    with pytest.raises(FloatingPointError, match="step 2 of the epoch: task_loss is nan.*=3e"):
        run(tmp_path, *AAL, "--aal-loss-weight", "3e38")
    assert not list(tmp_path.rglob("*.pth.tar"))
