"""A run that was stopped anywhere ends with the weights of one that was not."""

import copy
import os
import signal

import pytest
import torch
from mmengine.hooks import Hook
from mmengine.registry import HOOKS
from mmengine.runner import CheckpointLoader, Runner

from aal_plugin.mm.checkpoints.random_states import random_state, set_random_state
from aal_plugin.mm.runtime.launch import (
    keep_checkpoints_whole,
    resume_exactly,
    resume_from_whole_checkpoint,
)
from tests.mm.small import AAL, training

RANDOM = dict(
    AAL,
    backbone=dict(AAL["backbone"], drop_path_rate=0.3, drop_rate=0.1),
    train_cfg=dict(augments=[dict(type="Mixup", alpha=0.8), dict(type="CutMix", alpha=1.0)]),
)
PIPELINE = [
    dict(type="RandomCrop", crop_size=24, padding=4),
    dict(type="RandomFlip", prob=0.5),
    dict(type="PackInputs"),
]


@HOOKS.register_module()
class SignalAtStep(Hook):
    """The signal that a cluster sends, received in the middle of a step."""

    def __init__(self, step, number=signal.SIGTERM):
        self.step, self.number = step, number

    def before_train_iter(self, runner, batch_idx, data_batch=None):
        if runner.iter == self.step:
            os.kill(os.getpid(), self.number)


@pytest.fixture(autouse=True)
def signals_as_they_were():
    numbers = (signal.SIGTERM, signal.SIGUSR1)
    before = [signal.getsignal(number) for number in numbers]
    yield
    for number, handler in zip(numbers, before):
        signal.signal(number, handler)


def config(work_dir, workers, by_epoch=True, persistent=True, **changes):
    cfg = training(work_dir, RANDOM, epochs=4, **changes)
    cfg.train_dataloader.update(num_workers=workers, persistent_workers=workers > 0 and persistent)
    cfg.train_dataloader.dataset.pipeline = copy.deepcopy(PIPELINE)
    cfg.default_hooks.checkpoint = dict(type="CheckpointHook", interval=1)
    if not by_epoch:
        cfg.train_cfg = dict(by_epoch=False, max_iters=16, val_interval=3)
        cfg.train_dataloader.sampler.type = "InfiniteSampler"
        cfg.default_hooks.checkpoint.update(by_epoch=False, interval=5)
        cfg.default_hooks.logger.log_metric_by_epoch = False
        cfg.log_processor.by_epoch = False
    return cfg


def train(cfg, resume=False):
    """As tools/train.py does."""
    cfg.resume = resume
    resume_from_whole_checkpoint(cfg)
    keep_checkpoints_whole(cfg)
    resume_exactly(cfg)
    runner = Runner.from_cfg(cfg)
    runner.train()
    return runner


def weights(path):
    return CheckpointLoader.load_checkpoint(str(path), map_location="cpu")["state_dict"]


def assert_same(left, right):
    assert left.keys() == right.keys()
    differing = [key for key in left if not torch.equal(left[key], right[key])]
    assert not differing, differing


@pytest.fixture(scope="module", params=[0, 2], ids=["no workers", "two workers"])
def unbroken(request, tmp_path_factory):
    folder = tmp_path_factory.mktemp("unbroken")
    train(config(folder, request.param))
    return request.param, folder


def test_resumed_at_an_epochs_end(unbroken, tmp_path):
    workers, folder = unbroken
    os.link(folder / "epoch_2.pth", tmp_path / "epoch_2.pth")
    train(config(tmp_path, workers), resume=True)
    assert_same(weights(tmp_path / "epoch_4.pth"), weights(folder / "epoch_4.pth"))
    assert any(  # and the run is one in which random numbers count
        not torch.equal(value, weights(folder / "epoch_4.pth")[key])
        for key, value in weights(folder / "epoch_3.pth").items()
    )


@pytest.mark.parametrize("step", [5, 7], ids=["within an epoch", "in an epoch's last step"])
def test_stopped_by_a_signal_and_resumed(unbroken, tmp_path, step):
    workers, folder = unbroken
    stopped = config(tmp_path, workers)
    stopped.default_hooks.stop = dict(type="SignalAtStep", step=step)
    with pytest.raises(SystemExit) as left:
        train(stopped)
    assert left.value.code == 75
    assert (tmp_path / "last_checkpoint").read_text() == str(tmp_path / "interrupted.pth")
    meta = CheckpointLoader.load_checkpoint(str(tmp_path / "interrupted.pth"))["meta"]
    assert (meta["epoch"], meta["iter"]) == (1, step + 1)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    runner = train(config(tmp_path, workers), resume=True)
    assert runner.iter == 16 and runner.epoch == 4
    assert_same(weights(tmp_path / "epoch_4.pth"), weights(folder / "epoch_4.pth"))
    assert not (tmp_path / "interrupted.pth").exists()
    assert signal.getsignal(signal.SIGTERM) is signal.SIG_DFL  # a run that ends gives it back


def test_iteration_loops_too(tmp_path):
    train(config(tmp_path / "unbroken", 2, by_epoch=False))
    stopped = config(tmp_path / "stopped", 2, by_epoch=False)
    stopped.default_hooks.stop = dict(type="SignalAtStep", step=7, number=signal.SIGUSR1)
    with pytest.raises(SystemExit):
        train(stopped)
    train(config(tmp_path / "stopped", 2, by_epoch=False), resume=True)
    ends = [weights(tmp_path / name / "iter_15.pth") for name in ("stopped", "unbroken")]
    assert_same(*ends)


def test_workers_and_validation_do_not_change_what_is_trained(unbroken, tmp_path):
    """Each image's transforms have a stream of their own, and a validation none of the model's."""
    workers, folder = unbroken
    other = config(tmp_path, 2 - workers, persistent=False)
    other.train_cfg.val_interval = 4
    train(other)
    assert_same(weights(tmp_path / "epoch_4.pth"), weights(folder / "epoch_4.pth"))


def test_images_are_transformed_anew_in_every_epoch(tmp_path):
    """MMEngine's workers begin with the same seed in every epoch, unless they persist."""
    cfg = config(tmp_path, 2, persistent=False)
    cfg.train_dataloader.sampler.shuffle = False
    resume_exactly(cfg)
    runner = Runner.from_cfg(cfg)
    loop = runner.build_train_loop(cfg.train_cfg)
    epochs = []
    for loop._epoch in (0, 1, 0):
        epochs.append(
            torch.stack([image for batch in loop.dataloader for image in batch["inputs"]])
        )
    assert torch.equal(epochs[0], epochs[2])
    same = [torch.equal(one, other) for one, other in zip(epochs[0], epochs[1])]
    assert sum(same) < len(same) / 4


def test_a_checkpoint_of_before_resumes(tmp_path):
    cfg = config(tmp_path, 0)
    cfg.train_cfg.max_epochs = 1
    Runner.from_cfg(cfg).train()  # by MMEngine alone
    assert "random_states" not in CheckpointLoader.load_checkpoint(str(tmp_path / "epoch_1.pth"))
    assert train(config(tmp_path, 0), resume=True).epoch == 4


def test_loading_weights_takes_up_no_streams(unbroken, tmp_path):
    workers, folder = unbroken
    cfg = config(tmp_path, workers)
    cfg.load_from = str(folder / "epoch_2.pth")
    assert train(cfg).epoch == 4


def test_states_go_through_a_file_of_plain_data(tmp_path):
    import random

    import numpy as np

    np.random.randn()  # leaves a second Gaussian behind
    random.gauss(0, 1)
    torch.save(random_state(), tmp_path / "state.pth")
    first = random.gauss(0, 1), np.random.randn(3).tolist(), torch.rand(2).tolist()
    set_random_state(torch.load(tmp_path / "state.pth", weights_only=True))
    assert (random.gauss(0, 1), np.random.randn(3).tolist(), torch.rand(2).tolist()) == first


def test_a_labs_own_loop_and_hooks_are_left_alone():
    cfg = training("nowhere")
    cfg.train_cfg.type = "LabsLoop"
    cfg.default_hooks.checkpoint = dict(type="LabsCheckpointHook")
    keep_checkpoints_whole(cfg)
    resume_exactly(cfg)
    assert cfg.train_cfg.type == "LabsLoop" and "stop_signal" not in cfg.default_hooks


@pytest.mark.parametrize("interval", [0, -1, 1.5, "5"])
def test_interval_of_the_stop_signal_is_a_whole_number(interval):
    from aal_plugin.mm import StopSignalHook

    assert StopSignalHook(interval=1).interval == 1
    with pytest.raises(ValueError, match="StopSignalHook.interval=.*; choose 1 or more"):
        StopSignalHook(interval=interval)
