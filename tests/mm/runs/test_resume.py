"""Which checkpoint a plain `--resume` continues from."""

import logging

import pytest
import torch
from mmengine.config import Config

from aal_plugin.mm.runs.protection import protected
from aal_plugin.mm.runs.resuming import resume_from_whole_checkpoint


@pytest.fixture
def warned(monkeypatch):
    words = []

    def note(text, logger, level):
        assert level == logging.WARNING
        words.append(text)

    monkeypatch.setattr("aal_plugin.mm.runs.resuming.print_log", note)
    return words


def save(folder, *names, last=None):
    for name in names:
        torch.save(dict(state_dict=dict(weight=torch.zeros(100))), folder / name)
    if last is not None:
        (folder / "last_checkpoint").write_text(str(folder / last))


def resumed(folder, **changes):
    """The file's name, or None where training starts at epoch 0."""
    by_epoch = dict(train_cfg=dict(by_epoch=True, max_epochs=9))
    config = Config({**dict(resume=True, work_dir=str(folder)), **by_epoch, **changes})
    resume_from_whole_checkpoint(config)
    if not config.resume:
        assert config.get("load_from") is None
        return None
    return config.load_from[len(f"{folder}/") :]


def test_the_file_that_last_checkpoint_names_comes_first(tmp_path):
    """An epoch_300.pth of an older run lies there, with a larger number."""
    save(tmp_path, "epoch_7.pth", "epoch_300.pth", last="epoch_7.pth")
    assert resumed(tmp_path) == "epoch_7.pth"


def test_without_last_checkpoint_the_loops_own_files_count_by_number_not_by_name(tmp_path):
    save(tmp_path, "epoch_2.pth", "epoch_10.pth", "best_accuracy_top1_epoch_11.pth")
    save(tmp_path, "student_300.pth", "iter_800.pth", "old_epoch_50.pth")
    assert resumed(tmp_path) == "epoch_10.pth"
    for loop in (
        dict(by_epoch=False, max_iters=1000),
        dict(type="IterBasedTrainLoop", max_iters=9),
    ):
        assert resumed(tmp_path, train_cfg=loop) == "iter_800.pth"


def test_damaged_files_are_passed_over_by_name(tmp_path, warned):
    save(tmp_path, "epoch_1.pth", "epoch_2.pth", "epoch_3.pth", last="epoch_3.pth")
    content = bytearray((tmp_path / "epoch_3.pth").read_bytes())
    content[len(content) // 2] ^= 1  # one bit
    (tmp_path / "epoch_3.pth").write_bytes(content)
    (tmp_path / "epoch_2.pth").write_bytes(content[:100])
    assert resumed(tmp_path) == "epoch_1.pth"
    assert "epoch_3.pth" in warned[0] and "checksum" in warned[0]
    assert "epoch_2.pth" in warned[1] and "cut short" in warned[1]


@pytest.mark.parametrize("name", [None, "epoch_1.pth"])
def test_where_nothing_whole_was_written_training_starts_anew(tmp_path, warned, name):
    if name:
        (tmp_path / name).write_bytes(b"PK")
    assert resumed(tmp_path) is None
    assert warned[-1].endswith(f"no complete checkpoint in {tmp_path}; training starts at epoch 0")


def test_work_dir_may_have_been_moved(tmp_path):
    save(tmp_path, "epoch_7.pth", "epoch_8.pth")
    (tmp_path / "last_checkpoint").write_text("/another/machine/run/epoch_7.pth")
    assert resumed(tmp_path) == "epoch_7.pth"


@pytest.mark.parametrize("template", ["model_{}.pth", "e{}.pt"])
def test_names_of_the_hooks_own_template_are_known(tmp_path, template):
    save(tmp_path, template.format(3), "epoch_9.pth")
    hooks = dict(checkpoint=dict(type="CheckpointHook", filename_tmpl=template))
    assert resumed(tmp_path, default_hooks=hooks) == template.format(3)


@pytest.mark.parametrize("hook", [None, dict(type="CheckpointHook", interval=3, max_keep_ckpts=1)])
def test_launchers_put_the_safe_hook_in_the_place_of_mmengines(hook):
    config = Config(dict(default_hooks=dict(checkpoint=hook) if hook else dict()))
    protected(config)
    expected = dict(hook or dict(interval=1), type="SafeCheckpointHook")
    assert config.default_hooks.checkpoint == expected


@pytest.mark.parametrize("hook", [None, dict(type="LabsHook")])
def test_no_hook_and_a_labs_own_are_left_alone(hook):
    config = Config(dict(default_hooks=dict(checkpoint=hook)))
    protected(config)
    assert config.default_hooks.checkpoint == hook
