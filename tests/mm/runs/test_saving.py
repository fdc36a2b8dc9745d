"""What a run may delete, where it was moved or continued elsewhere, and who may train there."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from mmengine.fileio import LocalBackend
from mmengine.runner import Runner

from aal_plugin.mm.runs import saving
from aal_plugin.mm.runs.as_data import load_as_data
from aal_plugin.mm.runs.protection import protected
from tests.mm.small import PLAIN, training

ROOT = Path(__file__).resolve().parents[3]


def train(folder, epochs=1, resume=False, keep=1, **hook):
    config = training(folder, PLAIN, epochs=epochs)
    # A loss that falls: every validation is a new best one.
    config.val_evaluator = dict(type="Accuracy", topk=(1,))
    config.default_hooks.checkpoint = dict(
        type="CheckpointHook", interval=1, max_keep_ckpts=keep, save_best="auto", **hook
    )
    config.resume, config.load_from = bool(resume), resume if isinstance(resume, str) else None
    runner = Runner.from_cfg(protected(config))
    runner.train()
    return runner


def crafted(path, **info):
    saved = load_as_data(str(path))
    saved["message_hub"]["runtime_info"].update(info)
    saved["message_hub"]["resumed_keys"].update(dict.fromkeys(info, True))
    torch.save(saved, path)


def everything(folder):
    return {str(path) for path in Path(folder).rglob("*")}


def test_no_file_or_folder_that_a_checkpoint_names_is_deleted(tmp_path):
    run = tmp_path / "run"
    train(run)
    for victim in (tmp_path / "victim.pth", run / "notes.txt", run / "epoch_1.pth.txt"):
        victim.write_text("mine")
    for folder in (tmp_path / "folder", run / "epoch_70.pth"):
        (folder / "in").mkdir(parents=True)
    os.link(tmp_path / "victim.pth", tmp_path / "epoch_9.pth")
    before = everything(tmp_path)
    paths = ["victim.pth", "folder", "epoch_9.pth", "run/notes.txt"]
    crafted(
        run / "epoch_1.pth",
        outdated_ckpts=[
            *(str(tmp_path / path) for path in paths),
            *("../epoch_9.pth", "notes.txt", "epoch_70.pth", "epoch_1.pth.txt", 7),
        ],
        keep_ckpt_ids=["../../victim", "../epoch_9", 70, 1],
        best_ckpt=str(tmp_path / "victim.pth"),
        best_score=-1.0,
    )
    train(run, epochs=3, resume=True)
    ours = {path for path in before if path.startswith(f"{run}/") and path.endswith("_1.pth")}
    assert before - everything(tmp_path) <= ours
    assert not (run / "epoch_1.pth").exists()  # our own are removed as before


def test_a_run_that_was_moved_leaves_the_one_in_its_old_place_alone(tmp_path):
    first, moved = tmp_path / "A", tmp_path / "B"
    train(first)
    first.rename(moved)
    train(first)
    before = {path: path.read_bytes() for path in first.glob("*.pth")}
    assert before
    runner = train(moved, epochs=2, resume=True)
    assert runner._load_from == str(moved / "epoch_1.pth")
    assert {path: path.read_bytes() for path in first.glob("*.pth")} == before
    assert [path.name for path in moved.glob("epoch_*.pth")] == ["epoch_2.pth"]


def test_a_run_that_continues_from_another_ones_file_deletes_nothing_there(tmp_path):
    first, second = tmp_path / "A", tmp_path / "B"
    train(first)
    (first / "interrupted.pth").write_text("another run's")
    second.mkdir()
    (second / "epoch_1.pth").write_text("of the same name as the one that it continues from")
    before = everything(first) | {str(second / "epoch_1.pth")}
    train(second, epochs=3, resume=str(first / "epoch_1.pth"))
    assert before <= everything(tmp_path)
    assert (second / "epoch_3.pth").exists() and not (second / "epoch_2.pth").exists()


def test_a_checkpoint_holds_names_and_no_paths(tmp_path):
    train(tmp_path)
    for path in tmp_path.glob("*.pth"):
        info = load_as_data(str(path))["message_hub"]["runtime_info"]
        assert info["best_ckpt"].startswith("best_accuracy")
        assert not [key for key in info if key != "cfg" and str(tmp_path) in str(info[key])]


def test_files_to_remove_are_kept_over_a_kill(tmp_path):
    train(tmp_path, keep=-1)
    (tmp_path / "epoch_70.pth").write_text("an older epoch")
    crafted(tmp_path / "epoch_1.pth", outdated_ckpts=["epoch_70.pth"])
    train(tmp_path, epochs=2, resume=True)
    assert not (tmp_path / "epoch_70.pth").exists()


@pytest.mark.parametrize("main", [True, False])
def test_only_the_main_process_removes_and_names_files(tmp_path, monkeypatch, main):
    monkeypatch.setattr(saving, "is_main_process", lambda: main)
    hook = saving.SafeCheckpointHook(interval=1)
    hook.out_dir, hook._storage = str(tmp_path), LocalBackend()
    hook._outdated, hook.args = ["epoch_1.pth"], {}
    (tmp_path / "epoch_1.pth").write_text("")

    class Run:
        hooks, work_dir = (), str(tmp_path)
        message_hub = type("Hub", (), dict(update_info=lambda *given: None))()

        def save_checkpoint(self, *given, **options):
            pass

    hook.save(Run(), "epoch_2.pth", {}, by_epoch=True)
    assert (tmp_path / "epoch_1.pth").exists() != main
    assert (tmp_path / "last_checkpoint").exists() == main


HOLD = """
import os, sys, time
from aal_plugin.mm.runs.saving import _lock
lock = _lock(sys.argv[1])
if os.fork() == 0:  # a worker, which lives on
    time.sleep(120)
print("held", flush=True)
time.sleep(120)
"""


def test_a_second_run_in_a_work_dir_is_told_and_a_killed_one_leaves_no_lock(tmp_path):
    other = subprocess.Popen(
        [sys.executable, "-W", "ignore", "-c", HOLD, str(tmp_path)],
        stdout=subprocess.PIPE, text=True, cwd=ROOT, start_new_session=True,
        env=dict(os.environ, PYTHONPATH=str(ROOT)),
    )  # fmt: skip
    try:
        while other.stdout.readline().strip() != "held":
            assert other.poll() is None
        words = f"work_dir='{tmp_path}': process {other.pid} of .* trains there; .*another work_dir"
        with pytest.raises(ValueError, match=words):
            train(tmp_path)
        assert not list(tmp_path.glob("*.pth"))
        other.kill()
        other.wait()
        train(tmp_path)
    finally:
        os.killpg(other.pid, 9)
        other.communicate()


def test_a_planted_lock_is_not_followed(tmp_path):
    (tmp_path / "victim").write_text("mine")
    (tmp_path / saving._LOCK).symlink_to(tmp_path / "victim")
    with pytest.raises(OSError):
        saving._lock(str(tmp_path))
    assert (tmp_path / "victim").read_text() == "mine"
