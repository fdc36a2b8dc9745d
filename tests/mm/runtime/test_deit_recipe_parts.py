"""DeiT's schedule, its average of the weights and its first weights, beside those of timm."""

import copy

import pytest
import timm
import torch
from mmengine.optim import OptimWrapper
from mmengine.registry import PARAM_SCHEDULERS, init_default_scope
from mmengine.runner import Runner
from mmpretrain.datasets.samplers import RepeatAugSampler
from timm.scheduler import CosineLRScheduler
from torch import nn

from aal_plugin.analysis.saved_links import saved_weights
from aal_plugin.mm.runs.as_data import load_as_data
from tests.mm.small import AAL, PLAIN, training


@pytest.mark.parametrize(("lr", "floor", "epochs"), [(1e-3, 1e-5, 300), (5e-6, 5e-6, 30)])
def test_lr_of_each_epoch_is_that_of_timms_scheduler_stepped_as_deit_does(lr, floor, epochs):
    def optimizer():
        return torch.optim.AdamW([nn.Parameter(torch.zeros(1))], lr=lr)

    init_default_scope("mmpretrain")
    ours = OptimWrapper(optimizer())
    scheduler = PARAM_SCHEDULERS.build(
        dict(type="DeiTLR", min_lr=floor, end=epochs), default_args=dict(optimizer=ours)
    )
    theirs = optimizer()
    timms = CosineLRScheduler(
        theirs, epochs, lr_min=floor, warmup_t=5, warmup_lr_init=1e-6, cycle_limit=1
    )
    for epoch in range(epochs):
        wanted = theirs.param_groups[0]["lr"]
        assert ours.param_groups[0]["lr"] == pytest.approx(wanted, rel=1e-12)
        ours.step()
        theirs.step()
        scheduler.step()
        timms.step(epoch)  # DeiT's main.py: after the epoch, with its number


def test_a_resumed_schedule_goes_on_where_it_stopped():
    def made():
        wrapper = OptimWrapper(torch.optim.SGD([nn.Parameter(torch.zeros(1))], lr=0.1))
        config = dict(type="DeiTLR", end=20)
        scheduler = PARAM_SCHEDULERS.build(config, default_args=dict(optimizer=wrapper))
        wrapper.step()  # without a gradient; a scheduler warns if it comes first
        return wrapper, scheduler

    whole, unbroken = made()
    for _ in range(12):
        unbroken.step()
    first, stopped = made()
    for _ in range(7):
        stopped.step()
    second, resumed = made()
    second.load_state_dict(first.state_dict())
    resumed.load_state_dict(stopped.state_dict())
    for _ in range(5):
        resumed.step()
    assert second.param_groups[0]["lr"] == pytest.approx(whole.param_groups[0]["lr"], rel=1e-12)


def test_kept_average_is_saved_and_resumed_beside_raw_weights_that_are_measured(tmp_path):
    hook = dict(type="KeptEMAHook", momentum=0.1)
    config = training(tmp_path, AAL, epochs=2)
    config.custom_hooks = [hook, *config.custom_hooks]
    runner = Runner.from_cfg(config)
    runner.train()
    (kept,) = (hook for hook in runner.hooks if hasattr(hook, "ema_model"))
    raw, average = runner.model.state_dict(), kept.ema_model.module.state_dict()
    name = "head.layers.head.weight"
    assert not torch.allclose(raw[name], average[name])
    path = str(tmp_path / "epoch_2.pth")
    saved = load_as_data(path)
    torch.testing.assert_close(saved["state_dict"][name], raw[name])
    torch.testing.assert_close(saved_weights(saved, False, path)[name], raw[name])
    torch.testing.assert_close(saved_weights(saved, True, path)[name], average[name])

    measured = raw[name].clone()
    kept.before_val_epoch(runner)
    torch.testing.assert_close(runner.model.state_dict()[name], measured)
    kept.after_val_epoch(runner)

    config.update(resume=True, load_from=path, experiment_name="resumed")
    config.train_cfg.max_epochs = 3
    resumed = Runner.from_cfg(config)
    resumed._train_loop = resumed.build_train_loop(config.train_cfg)
    resumed.optim_wrapper = resumed.build_optim_wrapper(config.optim_wrapper)
    resumed.param_schedulers = None
    resumed.call_hook("before_run")
    resumed.load_or_resume()
    (again,) = (hook for hook in resumed.hooks if hasattr(hook, "ema_model"))
    torch.testing.assert_close(resumed.model.state_dict()[name], raw[name])
    torch.testing.assert_close(again.ema_model.module.state_dict()[name], average[name])


def test_first_weights_have_the_spread_of_timms_deit():
    from mmpretrain.registry import MODELS

    init_default_scope("mmpretrain")
    torch.manual_seed(0)
    ours = MODELS.build(copy.deepcopy(dict(PLAIN, init_cfg=dict(type="DeiTInit"))))
    ours.init_weights()
    timms = timm.create_model("deit_tiny_patch16_224", depth=1)  # its trunc_normal_ is DeiT's
    wanted = timms.blocks[0].mlp.fc1.weight.std().item()
    for layer in ours.backbone.layers:
        for part in (layer.attn.qkv, layer.attn.proj, *layer.ffn.modules()):
            if isinstance(part, nn.Linear):
                assert part.weight.std().item() == pytest.approx(wanted, rel=0.2)
                assert not part.bias.any()
    assert ours.head.layers.head.weight.std().item() == pytest.approx(wanted, rel=0.3)
    assert ours.backbone.cls_token.abs().max() > 0


@pytest.mark.parametrize(("images", "ranks", "batch"), [(1_281_167, 8, 128), (64_058, 8, 128)])
def test_repeated_augmentation_is_deits(images, ranks, batch, monkeypatch):
    """Three copies of an image on three ranks; as many steps an epoch as in DeiT's code."""
    seen = []
    for rank in range(ranks):
        place = "mmpretrain.datasets.samplers.repeat_aug.get_dist_info"
        monkeypatch.setattr(place, lambda rank=rank: (rank, ranks))
        sampler = RepeatAugSampler(range(images), seed=3)
        sampler.set_epoch(2)
        seen.append(list(sampler))
    generator = torch.Generator().manual_seed(3 + 2)
    order = torch.randperm(images, generator=generator).tolist()
    for position in range(50):
        for rank in range(ranks):
            assert seen[rank][position] == order[(position * ranks + rank) // 3]
    deits_steps = images // 256 * 256 // ranks // batch
    assert {len(indices) // batch for indices in seen} == {deits_steps}
