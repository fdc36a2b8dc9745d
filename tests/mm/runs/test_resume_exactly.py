"""A run that was stopped anywhere ends with the weights of one that was not."""

import contextlib
import copy
import os
import signal

import pytest
import torch
from mmengine.evaluator import BaseMetric
from mmengine.hooks import Hook
from mmengine.registry import HOOKS, METRICS
from mmengine.runner import Runner

from aal_plugin.mm.runs.as_data import load_as_data
from aal_plugin.mm.runs.protection import protected
from aal_plugin.mm.runs.random_states import random_state, set_random_state
from aal_plugin.process import STOP, STOP_SIGNALS
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
    yield
    STOP.__init__()
    for number in STOP_SIGNALS:
        signal.signal(number, signal.SIG_DFL)


def config(work_dir, workers, by_epoch=True, persistent=True, seed=None, **changes):
    """Without a seed, as most configs are: a resumed run has that of its checkpoint."""
    cfg = training(work_dir, RANDOM, epochs=4, randomness=dict(seed=seed), **changes)
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
    runner = Runner.from_cfg(protected(cfg))
    runner.train()
    return runner


def load(path):
    return load_as_data(str(path))


def weights(path):
    return load(path)["state_dict"]


def assert_same(left, right):
    assert left.keys() == right.keys()
    differing = [key for key in left if not torch.equal(left[key], right[key])]
    assert not differing, differing


@pytest.fixture(scope="module", params=[0, 2], ids=["no workers", "two workers"])
def unbroken(request, tmp_path_factory):
    folder = tmp_path_factory.mktemp("unbroken")
    train(config(folder, request.param))
    return request.param, folder


@pytest.mark.parametrize("step", [None, 5, 7], ids=["at its end", "within it", "in its last step"])
def test_resumed_at_an_epochs_end_and_after_a_signal_within_it(unbroken, tmp_path, step):
    workers, folder = unbroken
    if step is None:
        os.link(folder / "epoch_2.pth", tmp_path / "epoch_2.pth")
    else:
        os.link(folder / "epoch_1.pth", tmp_path / "epoch_1.pth")
        stopped = config(tmp_path, workers)
        stopped.default_hooks.stop = dict(type="SignalAtStep", step=step)
        with pytest.raises(SystemExit) as left:
            train(stopped, resume=True)
        assert left.value.code == 75
        assert (tmp_path / "last_checkpoint").read_text() == str(tmp_path / "interrupted.pth")
        meta = load(tmp_path / "interrupted.pth")["meta"]
        assert (meta["epoch"], meta["iter"]) == (1, step + 1)
        STOP.__init__()
    runner = train(config(tmp_path, workers), resume=True)
    assert runner.iter == 16 and runner.epoch == 4
    assert_same(weights(tmp_path / "epoch_4.pth"), weights(folder / "epoch_4.pth"))
    assert not (tmp_path / "interrupted.pth").exists()
    before, after = (weights(folder / f"epoch_{n}.pth") for n in (3, 4))
    assert any(not torch.equal(before[key], after[key]) for key in before)


def test_iteration_loops_too(tmp_path):
    train(config(tmp_path / "unbroken", 2, by_epoch=False, seed=3))
    stopped = config(tmp_path / "stopped", 2, by_epoch=False, seed=3)
    stopped.default_hooks.stop = dict(type="SignalAtStep", step=7, number=signal.SIGUSR1)
    with pytest.raises(SystemExit):
        train(stopped)
    STOP.__init__()
    train(config(tmp_path / "stopped", 2, by_epoch=False), resume=True)
    ends = [weights(tmp_path / name / "iter_15.pth") for name in ("stopped", "unbroken")]
    assert_same(*ends)


def test_workers_and_validation_do_not_change_what_is_trained(unbroken, tmp_path):
    """Each image's transforms have a stream of their own, and a validation none of the model's."""
    workers, folder = unbroken
    seed = load(folder / "epoch_1.pth")["meta"]["seed"]
    other = config(tmp_path, 2 - workers, persistent=False, seed=seed)
    other.train_cfg.val_interval = 4
    train(other)
    assert_same(weights(tmp_path / "epoch_4.pth"), weights(folder / "epoch_4.pth"))


def test_images_are_transformed_anew_in_every_epoch(tmp_path):
    """MMEngine's workers begin with the same seed in every epoch, unless they persist."""
    cfg = config(tmp_path, 2, persistent=False)
    cfg.train_dataloader.sampler.shuffle = False
    runner = Runner.from_cfg(protected(cfg))
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
    assert "random_states" not in load(tmp_path / "epoch_1.pth")
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
    set_random_state(load(tmp_path / "state.pth"))
    assert (random.gauss(0, 1), np.random.randn(3).tolist(), torch.rand(2).tolist()) == first


def test_a_seed_that_is_not_the_checkpoints_is_told(unbroken, tmp_path, monkeypatch):
    words = []
    place = "aal_plugin.mm.runs.resuming.print_log"
    monkeypatch.setattr(place, lambda text, **options: words.append(text))
    cfg = config(tmp_path, 0, seed=7, resume=True, load_from=str(unbroken[1] / "epoch_1.pth"))
    saved = load(cfg.load_from)["meta"]["seed"]
    assert protected(cfg).randomness.seed == saved
    assert f"seed {saved} of its checkpoint, not with randomness.seed=7" in words[0]


@pytest.mark.parametrize("killed", [None, ("after it", 2), ("before it", 4)])
def test_early_stopping_counts_on(tmp_path, killed):
    """The best epoch is the second, whose validation saves it; patience 2 ends the run after 4."""
    watch = dict(zip(("moment", "at"), killed or ()))
    for resume in (False, True) if killed else (False,):
        cfg = validated(tmp_path, True, **({} if resume else watch))
        cfg.train_cfg.max_epochs = 6
        stop = dict(monitor="scripted/top1", rule="greater", patience=2)
        cfg.default_hooks.stopping = dict(type="EarlyStoppingHook", **stop)
        with contextlib.suppress(KeyboardInterrupt):
            runner = train(cfg, resume)
    assert runner.epoch == 4


def test_a_labs_own_loop_and_hooks_are_left_alone():
    cfg = training("nowhere")
    cfg.train_cfg.type = "LabsLoop"
    cfg.default_hooks.checkpoint = dict(type="LabsCheckpointHook")
    protected(cfg)
    assert cfg.train_cfg.type == "LabsLoop" and "stop_signal" not in cfg.default_hooks


@pytest.mark.parametrize("stopped", [False, True], ids=["at an epoch's end", "by a signal"])
def test_accumulated_gradients_are_kept(tmp_path, stopped):
    """Three batches to a step of the optimizer, four to an epoch."""

    def accumulating(name):
        wrapper = dict(optimizer=dict(type="AdamW", lr=1e-3), accumulative_counts=3)
        return config(tmp_path / name, 0, optim_wrapper=wrapper, seed=0)

    train(accumulating("unbroken"))
    kept = [
        bool(load(tmp_path / "unbroken" / f"epoch_{e}.pth").get("accumulated_gradients"))
        for e in (1, 2, 3, 4)
    ]
    assert kept == [True, True, False, False]  # after 4, 8, 12 and all 16 batches
    (tmp_path / "broken").mkdir()
    if stopped:
        config_of_it = accumulating("broken")
        config_of_it.default_hooks.stop = dict(type="SignalAtStep", step=6)
        with pytest.raises(SystemExit):
            train(config_of_it)
        STOP.__init__()
        assert load(tmp_path / "broken" / "interrupted.pth")["meta"]["iter"] == 9
    else:
        os.link(tmp_path / "unbroken" / "epoch_1.pth", tmp_path / "broken" / "epoch_1.pth")
    train(accumulating("broken"), resume=True)
    ends = [weights(tmp_path / name / "epoch_4.pth") for name in ("broken", "unbroken")]
    assert_same(*ends)


@HOOKS.register_module()
class Watch(Hook):
    """Tells the scripted metric where the run is, and kills the run at a moment of a validation."""

    priority = "HIGHEST"
    now = 0

    def __init__(self, moment=None, at=0, counts_epochs=True):
        self.moment, self.at, self.counts_epochs = moment, at, counts_epochs
        self.validated = []

    def before_val(self, runner):
        Watch.now = runner.epoch if self.counts_epochs else runner.iter
        self.kill("before it", Watch.now)

    def after_val_epoch(self, runner, metrics=None):
        self.kill("after its last batch", Watch.now)
        self.validated.append((runner.iter, metrics["scripted/top1"]))

    def before_save_checkpoint(self, runner, checkpoint):
        best = checkpoint["message_hub"]["runtime_info"].get("best_score")
        if best == SCRIPT.get(self.at) and "optimizer" not in checkpoint:
            self.kill("before its best file", self.at)
        elif best == SCRIPT.get(self.at):
            self.kill("between its best file and the checkpoint", self.at)

    def before_train_iter(self, runner, batch_idx, data_batch=None):
        self.kill("after it", Watch.now)

    def kill(self, moment, now):
        if moment == self.moment and now == self.at:
            raise KeyboardInterrupt(moment)


SCRIPT = {1: 30.0, 2: 50.0, 3: 40.0, 4: 45.0, 5: 44.0, 6: 60.0}
SCRIPT.update({9: 70.0, 12: 55.0, 15: 65.0, 16: 61.0})


@METRICS.register_module()
class Scripted(BaseMetric):
    default_prefix = "scripted"

    def process(self, data_batch, data_samples):
        self.results += [None] * len(data_samples)

    def compute_metrics(self, results):
        return dict(top1=SCRIPT[Watch.now])


def validated(work_dir, by_epoch, **watch):
    cfg = config(work_dir, 0, by_epoch=by_epoch, val_evaluator=dict(type="Scripted"))
    cfg.default_hooks.checkpoint.update(save_best="auto", rule="greater", max_keep_ckpts=1)
    cfg.default_hooks.watch = dict(type="Watch", counts_epochs=by_epoch, **watch)
    return cfg


def hook_of(runner):
    return next(hook for hook in runner.hooks if isinstance(hook, Watch))


LAST, BETWEEN = "after its last batch", "between its best file and the checkpoint"
# At a new best validation (2, 9) and at one that is none (3, 16).
KILLED = {
    True: [(2, "before it"), (2, LAST), (2, "before its best file"), (2, BETWEEN), (3, LAST)],
    False: [(9, LAST), (9, BETWEEN), (16, "before it")],
}


@pytest.mark.parametrize("by_epoch", [True, False], ids=["epochs", "iterations"])
def test_a_validation_that_a_kill_interrupted_is_done(tmp_path, by_epoch):
    """Checkpoints are saved at every epoch, or at iterations 5, 10 and 15."""
    runner = train(validated(tmp_path / "unbroken", by_epoch))
    names = sorted(path.name for path in (tmp_path / "unbroken").glob("*.pth"))
    wanted = hook_of(runner).validated
    last = load((tmp_path / "unbroken" / "last_checkpoint").read_text())
    assert last["message_hub"]["runtime_info"]["best_score"] == (50.0 if by_epoch else 70.0)
    for at, moment in KILLED[by_epoch]:
        folder = tmp_path / f"{at} {moment}"
        cfg = validated(folder, by_epoch, moment=moment, at=at)
        with pytest.raises(KeyboardInterrupt):
            Runner.from_cfg(protected(cfg)).train()
        again = hook_of(train(validated(folder, by_epoch), resume=True)).validated
        missed = [point for point in wanted if point[0] >= again[0][0]]
        assert again == missed, (at, moment)  # none is missing, none has another value
        saved = load((folder / "last_checkpoint").read_text())
        assert saved["message_hub"]["runtime_info"]["best_score"] == (50 if by_epoch else 70)
        assert sorted(path.name for path in folder.glob("*.pth")) == names, (at, moment)
