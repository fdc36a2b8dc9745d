"""A training that stops being one: NaN and infinite losses and weights."""

import pytest
import torch
from mmengine.config import Config
from mmengine.hooks import CheckpointHook
from mmengine.registry import HOOKS, MODELS
from mmengine.runner import Runner
from mmpretrain.models import ImageClassifier

from aal_plugin.mm.runs.protection import checked
from tests.mm.small import AAL, PLAIN, training

GUARD = dict(type="FiniteLossHook")


@MODELS.register_module()
class BreaksDown(ImageClassifier):
    """A loss that is NaN at one step, or weights that are infinite after it."""

    def __init__(self, step, what, **kwargs):
        super().__init__(**kwargs)
        self.step, self.what, self.count = step, what, 0

    def parse_losses(self, losses):
        self.count += 1
        total, log = super().parse_losses(losses)
        if self.count == self.step:
            if self.what == "weights":
                next(self.parameters()).data.flatten()[0] = float("inf")
                return total.detach() * 0 + sum(p.sum() * 0 for p in self.head.parameters()), log
            log["loss_strange"] = total * float(self.what)
            return total * float(self.what), log
        return total, log


@HOOKS.register_module()
class SavesAtItsOwnTimes(CheckpointHook):
    """Saves before the other hooks, at times that it alone knows."""

    priority = "HIGH"

    def after_train_iter(self, runner, batch_idx, data_batch=None, outputs=None):
        if runner.iter == 5:
            self._save_checkpoint(runner)


def broken(tmp_path, step, what="nan", checkpoint=None, interval=100, **changes):
    """Four steps an epoch; the logger's interval is longer than the run, unless it is told."""
    model = dict(PLAIN, type="BreaksDown", step=step, what=what)
    hooks = dict(
        logger=dict(type="LoggerHook", interval=interval),
        checkpoint=dict(dict(type="SafeCheckpointHook", interval=1), **(checkpoint or {})),
        finite=GUARD,
    )
    return training(tmp_path, model, default_hooks=hooks, epochs=3, **changes)


def saved(tmp_path):
    """The checkpoints of a work dir; each is finite through and through."""
    found = sorted(tmp_path.glob("*.pth"))
    for path in found:
        for tensor in torch.load(path, weights_only=False)["state_dict"].values():
            assert torch.isfinite(tensor.float()).all(), path
    return [path.name for path in found]


@pytest.mark.parametrize("what", ["nan", "inf", "weights"])
def test_the_last_finite_checkpoint_stays_where_one_alone_is_kept(tmp_path, what):
    # Infinite weights after an epoch's last step, where no loss has told of them yet.
    step = 8 if what == "weights" else 7
    words = (
        "weights are NaN or infinite" if what == "weights" else f"step 7: loss_strange is {what}"
    )
    with pytest.raises(FloatingPointError, match=f"{words}.*epoch_1.pth, is finite"):
        Runner.from_cfg(broken(tmp_path, step, what, dict(max_keep_ckpts=1))).train()
    assert saved(tmp_path) == ["epoch_1.pth"]
    assert (tmp_path / "last_checkpoint").read_text().endswith("epoch_1.pth")


@pytest.mark.parametrize("step", [4, 6])
def test_saves_by_iteration_and_of_the_best_come_after_the_check(tmp_path, step):
    every_two = dict(by_epoch=False, interval=2, max_keep_ckpts=1, save_best="accuracy/top1")
    config = broken(tmp_path, step, checkpoint=every_two)
    with pytest.raises(FloatingPointError, match=f"step {step}: loss_strange is nan"):
        Runner.from_cfg(config).train()
    assert [name for name in saved(tmp_path) if "best" not in name] == [f"iter_{step - 2}.pth"]


def test_a_hook_of_other_times_and_of_a_higher_priority_saves_nothing_either(tmp_path):
    with pytest.raises(FloatingPointError, match="step 6: loss_strange is nan"):
        own = dict(type="SavesAtItsOwnTimes")
        Runner.from_cfg(broken(tmp_path, 6, checkpoint=own)).train()
    assert saved(tmp_path) == ["epoch_1.pth"]


def test_the_mark_is_read_at_the_loggers_interval_and_tells_the_first_step(tmp_path):
    config = broken(tmp_path, 2, interval=3)
    runner = Runner.from_cfg(config)
    with pytest.raises(FloatingPointError, match="step 2: loss_strange is nan"):
        runner.train()
    assert runner.iter == 2  # counted from 0: in the third step


def test_no_step_between_readings_waits_for_the_device(tmp_path, monkeypatch):
    config = broken(tmp_path, 100)
    runner = Runner.from_cfg(config)
    hook = next(h for h in runner.hooks if type(h).__name__ == "FiniteLossHook")
    reads = []
    for name in ("item", "tolist", "__bool__", "__int__", "__float__", "numpy", "cpu"):
        true = getattr(torch.Tensor, name)

        def counted(self, *args, true=true, name=name, **kwargs):
            reads.append(name)
            return true(self, *args, **kwargs)

        monkeypatch.setattr(torch.Tensor, name, counted)
    hook.before_train(runner)
    runner.train_loop  # noqa: B018  builds what runner.iter asks
    reads.clear()
    for _ in range(5):
        hook.after_train_iter(runner, 0, None, dict(loss=torch.tensor(1.0)))
    assert not reads


def test_weight_and_name_of_the_loss_are_told(tmp_path):
    model = dict(AAL, link_head=dict(AAL["link_head"], loss_weight=3e38))
    config = training(tmp_path, model)
    config.default_hooks.update(finite=GUARD)
    with pytest.raises(FloatingPointError, match="loss_link is .*link_weight=3e[+]38"):
        Runner.from_cfg(config).train()
    assert saved(tmp_path) == []


def test_the_launcher_adds_it_once():
    cfg = Config(dict(default_hooks=dict(logger=dict(type="LoggerHook"))))
    checked(cfg)
    assert cfg.default_hooks.finite == GUARD and "logger" in cfg.default_hooks
    own = Config(dict(custom_hooks=[GUARD]))
    checked(own)
    assert own.custom_hooks == [GUARD]
    assert own.default_hooks == dict(fit=dict(type="FitCheckHook"))
