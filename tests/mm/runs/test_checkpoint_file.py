"""What is told of files that are no whole checkpoints, and what a hostile one can do: nothing."""

import os
import pickle
import random

import pytest
import torch
from mmengine.config import Config
from mmengine.runner import CheckpointLoader, Runner
from safetensors.torch import save_file

from aal_plugin import checkpoint_file
from aal_plugin.checkpoint_file import check_checkpoint
from aal_plugin.mm.export import export_student
from aal_plugin.mm.runs.as_data import only_data
from tests.mm.runs.test_as_data import Made
from tests.mm.small import AAL, PLAIN, build, training


@pytest.fixture
def whole(tmp_path):
    path = tmp_path / "whole.pth"
    torch.save(dict(state_dict=dict(weight=torch.randn(50, 50))), path)
    return path


def damage(path, how):
    content = bytearray(path.read_bytes())
    middle = len(content) // 2
    if how == "flipped":
        content[middle] ^= 0xFF
    elif how == "zeroed":
        content[middle : middle + 64] = bytes(64)
    elif how == "cut":
        del content[middle:]
    elif how == "all zeros":
        content = bytes(len(content))
    elif how == "empty":
        content = b""
    elif how == "lfs":
        content = b"version https://git-lfs.github.com/spec/v1\noid sha256:0\n"
    elif how == "pickle":
        content = pickle.dumps(dict(state_dict={}))
    path.write_bytes(content)


@pytest.mark.parametrize(
    ("how", "words"),
    [
        ("flipped", "is damaged: .* does not match its checksum"),
        ("zeroed", "is damaged"),
        ("cut", "is cut short"),
        ("all zeros", "contains only zeros"),
        ("empty", "is empty"),
        ("lfs", "is a pointer of Git LFS"),
        ("pickle", "is a pickle"),
    ],
)
def test_damage_is_found_and_named(whole, how, words):
    check_checkpoint(str(whole))
    damage(whole, how)
    for read in (check_checkpoint, CheckpointLoader.load_checkpoint):
        with pytest.raises(ValueError, match=f"checkpoint '{whole}' {words}"):
            read(str(whole))


def test_no_flipped_bit_passes_that_torch_stumbles_over(tmp_path):
    """One bit in each byte: the file is rejected, or torch reads what was saved."""
    path, draw = tmp_path / "small.pth", random.Random(0)
    torch.save(dict(weight=torch.arange(9.0), epoch=3), path)
    content, rejected = path.read_bytes(), 0
    for place in range(len(content)):
        flipped = bytearray(content)
        flipped[place] ^= 1 << draw.randrange(8)
        path.write_bytes(flipped)
        if checkpoint_file._fault.__wrapped__(str(path), 0, 0) is not None:
            rejected += 1
            continue
        read = torch.load(path, weights_only=True)
        assert torch.equal(read["weight"], torch.arange(9.0)) and read["epoch"] == 3, place
    assert rejected > len(content) / 3


def test_folder_and_missing_file_are_told_apart(tmp_path):
    with pytest.raises(FileNotFoundError, match="nowhere.pth': no such file"):
        check_checkpoint(str(tmp_path / "nowhere.pth"))
    with pytest.raises(ValueError, match="is a folder"):
        check_checkpoint(str(tmp_path))


def test_file_without_permission_is_not_called_broken(whole, monkeypatch):
    def refuse(*args, **kwargs):
        raise PermissionError(13, "Permission denied")

    whole.chmod(0o000)
    if os.geteuid() == 0:  # root may read all
        monkeypatch.setattr("builtins.open", refuse)
    with pytest.raises(PermissionError, match=r"no permission to read it \(mode 0\)"):
        check_checkpoint(str(whole))


def test_torchs_older_format_and_safetensors_are_read(tmp_path):
    weights = dict(weight=torch.randn(3, 3))
    older, safe = tmp_path / "older.pth", tmp_path / "weights.safetensors"
    torch.save(dict(state_dict=weights), older, _use_new_zipfile_serialization=False)
    save_file(weights, safe)
    read = CheckpointLoader.load_checkpoint(str(older), map_location="cpu")["state_dict"]
    assert torch.equal(read["weight"], weights["weight"])
    assert torch.equal(CheckpointLoader.load_checkpoint(str(safe))["weight"], weights["weight"])


@pytest.mark.parametrize("older", [False, True])
def test_pickled_code_is_refused_by_name(tmp_path, older):
    path, touched = tmp_path / "hostile.pth", tmp_path / "touched"
    saved = dict(state_dict={}, meta=dict(hello=Made(os.system, (f"touch {touched}",))))
    torch.save(saved, path, _use_new_zipfile_serialization=not older)
    with pytest.raises(ValueError, match=r"hostile.pth' holds more than weights .*\.system\)"):
        CheckpointLoader.load_checkpoint(str(path), map_location="cpu")
    assert not touched.exists()
    torch.load(path, weights_only=False)  # the file is as hostile as it was meant to be
    assert touched.exists()


def test_loaders_that_ask_for_code_do_not_get_it(tmp_path):
    """As torch.hub asks, which serves http, and as the onedl fork falls back to."""
    path, touched = tmp_path / "hostile.pth", tmp_path / "touched"
    torch.save(dict(meta=Made(os.system, (f"touch {touched}",))), path)
    load = only_data(lambda name, where: torch.load(name, where, weights_only=False))
    with pytest.raises(pickle.UnpicklingError):
        load(str(path), "cpu")
    assert not touched.exists() and "TORCH_FORCE_WEIGHTS_ONLY_LOAD" not in os.environ


def hostile_config(path, touched, model):
    """A checkpoint that fits the model, and whose config touches a file when it is evaluated."""
    meta = dict(epoch=1, iter=4, config=f"ran = __import__('os').system('touch {touched}')\n")
    torch.save(dict(state_dict=model.state_dict(), meta=meta, message_hub=_EMPTY_HUB), path)
    Config.fromstring(meta["config"], file_format=".py")
    assert touched.exists()
    touched.unlink()


_EMPTY_HUB = dict(log_scalars={}, runtime_info={}, resumed_keys={})


@pytest.mark.parametrize("resume", [True, False])
def test_config_within_a_checkpoint_is_never_run(tmp_path, resume):
    path, touched = tmp_path / "epoch_1.pth", tmp_path / "touched"
    hostile_config(path, touched, build(AAL))
    config = training(tmp_path, epochs=2, resume=resume, load_from=str(path))
    runner = Runner.from_cfg(config)
    runner.train()
    assert runner.epoch == 2 and not touched.exists()


def test_config_within_a_teachers_checkpoint_is_never_run(tmp_path):
    path, touched = tmp_path / "teacher.pth", tmp_path / "touched"
    student = Config(dict(model=PLAIN))
    hostile_config(path, touched, build(PLAIN))
    teacher = dict(type="MMTeacher", config=student, checkpoint=str(path), layers=["backbone.ln1"])
    try:
        build(dict(AAL, teacher=teacher))
    except ValueError:
        pass  # a ViT has no maps to teach with; its file was read by then
    assert not touched.exists()


def test_an_export_does_not_overwrite_the_checkpoint_that_it_reads(whole):
    content = whole.read_bytes()
    with pytest.raises(ValueError, match="is an input of this command and would be overwritten"):
        export_student("config.py", str(whole), str(whole))
    assert whole.read_bytes() == content
