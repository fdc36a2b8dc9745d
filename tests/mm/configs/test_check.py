"""What is told of a config before it is built. tests/reliability/bad_inputs.py has the table."""

import pytest
import torch
from mmengine.config import Config

from aal_plugin.mm.configs.check import check_config
from aal_plugin.mm.configs.types import hooks_of, parts_of, type_name
from tests.mm.small import AAL, PLAIN, build, training


def test_nothing_is_held_against_parts_of_others():
    hook = dict(type="mmengine.EMAHook", momentum=0.1)
    check_config(training("x", custom_hooks=[hook, dict(type="a.lab.of.its.own.LambdaDecay")]))


def test_all_misspelled_names_are_told_at_once_and_one_alone_as_it_is():
    cfg = training("x")
    cfg.model.link_head.lossweight = -1.0
    with pytest.raises(ValueError, match="^model.link_head.lossweight: .* did you mean 'loss_wei"):
        check_config(cfg)
    cfg.model.teacher.checkpont = "a.pth"
    cfg.custom_hooks[0].gamas = 1.0
    cfg.optim_wraper = dict(optimizer=dict(lr=1.0))
    with pytest.raises(ValueError) as error:
        check_config(cfg, lambda: (_ for _ in ()).throw(OSError("no data")))
    lines = str(error.value).splitlines()
    assert lines[0] == "5 mistakes"
    for words in ("'loss_weight'", "'checkpoint'", "'gammas'", "mean 'optim_wrapper'", "no data"):
        assert sum(words in line for line in lines) == 1


@pytest.mark.parametrize(
    ("key", "meant"),
    [
        ("defalt_hooks", "default_hooks"),
        ("custom_hook", "custom_hooks"),
        ("train_config", "train_cfg"),
        ("load_form", "load_from"),
        ("custom_import", "custom_imports"),
    ],
)
def test_keys_that_nothing_reads_are_told_and_variables_are_not(key, meant):
    cfg = training("x", train_pipeline=[], gallery_dataloader=None, lr=1.0, data_root="d")
    check_config(cfg)
    with pytest.raises(ValueError, match=f"^{key} is a key that nothing reads; .* '{meant}'"):
        check_config(Config(dict(cfg.to_dict(), **{key: {}})))


def test_none_removes_mmengines_own_default_hooks_alone():
    cfg = training("x", default_hooks=dict(timer=None, checkpoint=None))
    check_config(cfg)
    cfg.default_hooks.aal = None
    with pytest.raises(ValueError, match=r"^default_hooks.aal=None: .*write .*_delete_=True"):
        check_config(cfg)


def test_a_type_is_read_however_it_is_written():
    from mmengine.hooks import EMAHook

    for kind in ("EMAHook", "mmengine.EMAHook", EMAHook):
        assert type_name(dict(type=kind)) == "EMAHook"
    assert type_name(None) == type_name({}) == type_name("EMAHook") == ""
    cfg = Config(
        dict(
            default_hooks=dict(a=dict(type="A"), b=None),
            custom_hooks=[dict(type="B", inner=[dict(type="C")])],
        )
    )
    assert [key for key, _ in hooks_of(cfg)] == ["default_hooks.a", "custom_hooks.0"]
    assert [key for key, _ in parts_of(cfg.custom_hooks, "hooks")] == ["hooks.0", "hooks.0.inner.0"]


@pytest.mark.parametrize("scope", ["", "aal_plugin.mm."])
def test_a_runs_hooks_are_known_with_a_scope_too(tmp_path, scope):
    from aal_plugin.mm.runs.protection import protected

    cfg = training(tmp_path, default_hooks=dict(checkpoint=dict(type="mmengine.CheckpointHook")))
    cfg.custom_hooks.append(dict(type=f"{scope}FiniteLossHook"))
    cfg.train_cfg = dict(type="mmengine.EpochBasedTrainLoop", max_epochs=1)
    protected(cfg)
    assert cfg.default_hooks.checkpoint.type == "SafeCheckpointHook"
    assert "finite" not in cfg.default_hooks and cfg.train_cfg.type == "ResumableEpochLoop"


@pytest.mark.parametrize(
    ("loop", "kind"),
    [
        (dict(max_epochs=2), "ResumableEpochLoop"),
        (dict(by_epoch=True, max_epochs=2), "ResumableEpochLoop"),
        (dict(max_iters=9), "ResumableIterLoop"),
        (dict(by_epoch=False, max_iters=9), "ResumableIterLoop"),
    ],
)
def test_a_loop_is_by_epochs_unless_it_counts_iterations(tmp_path, loop, kind):
    from aal_plugin.mm.runs.protection import protected

    cfg = training(tmp_path, train_cfg=loop)
    protected(cfg)
    assert cfg.train_cfg.type == kind


def test_channels_are_told_or_asked_for():
    """A teacher of RGB images beside to_rgb=False: the student's may be RGB (CIFAR) or BGR."""
    pixels = dict(PLAIN["data_preprocessor"], to_rgb=False)
    with pytest.raises(ValueError, match="to_rgb=False .* model.images_rgb=True or False"):
        build(AAL, data_preprocessor=pixels)
    images = torch.randn(2, 3, 24, 24)
    rgb = build(AAL, data_preprocessor=pixels, images_rgb=True)
    bgr = build(AAL, data_preprocessor=pixels, images_rgb=False)
    for one, other in zip(rgb.teacher(images)[0], bgr.teacher(images.flip(1))[0]):
        # The student's mean and std are the same for each channel, so that the order alone differs.
        torch.testing.assert_close(one, other)
    assert not torch.allclose(rgb.teacher(images)[0][0], bgr.teacher(images)[0][0])


def test_a_teacher_of_cifar_is_known_to_have_seen_rgb(tmp_path):
    teacher = dict(
        type="MMTeacher",
        config="configs/attention_transfer/wrn-16-2_cifar10.py",
        allow_random_weights=True,
    )
    pixels = dict(num_classes=10, mean=[120.0, 110.0, 90.0], std=[60.0] * 3, to_rgb=False)
    images = torch.randn(2, 3, 32, 32)
    student = dict(
        AAL, teacher=teacher, data_preprocessor=pixels, backbone=dict(AAL["backbone"], img_size=32)
    )
    maps = [build(student, images_rgb=told).teacher(images)[0][0] for told in (None, True, False)]
    torch.testing.assert_close(maps[0], maps[1])
    assert not torch.allclose(maps[0], maps[2])


def test_a_misspelt_type_is_told_with_a_scope_too():
    cfg = training("x")
    cfg.custom_hooks[0].type = "aal_plugin.mm.LambdaDecayHok"
    with pytest.raises(
        ValueError, match="'aal_plugin.mm.LambdaDecayHok' is not registered; did you"
    ):
        check_config(cfg)
