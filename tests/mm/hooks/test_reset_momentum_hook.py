"""A run with ResetMomentumHook against a loop of plain torch that makes a new SGD at each drop."""

import itertools

import pytest
import torch
from mmengine.hooks import Hook
from mmengine.model import BaseModel
from mmengine.runner import Runner
from torch import nn

import aal_plugin.mm  # noqa: F401

STEPS = [torch.tensor([float(i), 1.0]) for i in range(3)]
DROPS, EPOCHS = (2, 4), 6
RUNS = itertools.count()


class Bowl(BaseModel):
    def __init__(self):
        super().__init__()
        self.place = nn.Parameter(torch.tensor([2.0, -3.0]))

    def forward(self, inputs, mode="loss"):
        return dict(loss=(inputs * (self.place - 1) ** 2).sum() / 10)


class Killed(Hook):
    def __init__(self, epoch):
        self.epoch = epoch

    def before_train_epoch(self, runner):
        if runner.epoch == self.epoch:
            raise KeyboardInterrupt


def run(work_dir, hooks=(dict(type="ResetMomentumHook"),), **changes):
    settings = dict(
        model=Bowl(),
        work_dir=str(work_dir),
        train_dataloader=dict(
            dataset=[dict(inputs=step) for step in STEPS],
            batch_size=1,
            collate_fn=dict(type="default_collate"),
            sampler=dict(type="DefaultSampler", shuffle=False),
        ),
        train_cfg=dict(by_epoch=True, max_epochs=EPOCHS),
        optim_wrapper=dict(optimizer=dict(type="SGD", lr=0.1, momentum=0.9)),
        param_scheduler=dict(type="MultiStepLR", milestones=list(DROPS), gamma=0.5),
        custom_hooks=list(hooks),
        default_scope="mmpretrain",
        log_level="ERROR",
        experiment_name=f"reset-{next(RUNS)}",
    )
    runner = Runner(**{**settings, **changes})
    runner.train()
    return runner.model.place.detach()


def plain(reset=True):
    model, lr = Bowl(), 0.1
    optimizer = torch.optim.SGD(model.parameters(), lr, momentum=0.9)
    for epoch in range(EPOCHS):
        if epoch in DROPS:
            lr = lr * 0.5
            if reset:
                optimizer = torch.optim.SGD(model.parameters(), lr, momentum=0.9)
            optimizer.param_groups[0]["lr"] = lr
        for step in STEPS:
            optimizer.zero_grad()
            model(step[None])["loss"].backward()
            optimizer.step()
    return model.place.detach()


def test_run_is_that_of_a_new_optimizer_at_each_drop(tmp_path):
    assert (plain() - plain(reset=False)).abs().max() > 0.01  # else nothing is tested
    torch.testing.assert_close(run(tmp_path), plain())
    torch.testing.assert_close(run(tmp_path, hooks=()), plain(reset=False))


@pytest.mark.parametrize("killed", [1, 2, 3, 4])
def test_resumed_run_is_the_unbroken_one(tmp_path, killed):
    """At epochs 2 and 4 the checkpoint is the one of the drop itself."""
    with pytest.raises(KeyboardInterrupt):
        run(tmp_path, hooks=[dict(type="ResetMomentumHook"), Killed(killed)])
    place = run(tmp_path, resume=True, load_from=str(tmp_path / f"epoch_{killed}.pth"))
    torch.testing.assert_close(place, plain())


def test_loop_by_iteration_is_refused(tmp_path):
    with pytest.raises(ValueError, match="ResetMomentumHook needs a training loop by epochs"):
        run(tmp_path, train_cfg=dict(by_epoch=False, max_iters=3))
