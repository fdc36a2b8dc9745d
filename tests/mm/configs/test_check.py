"""What is told of a config before it is built. tests/reliability/bad_inputs.py has the table."""

from pathlib import Path

import pytest
import torch
from mmengine.config import Config
from mmengine.runner import Runner

from aal_plugin.mm.configs.check import check_config
from aal_plugin.mm.configs.types import hooks_of, parts_of, type_name
from aal_plugin.mm.hooks.fit_check_hook import check_fit
from tests.mm.small import AAL, PLAIN, build, training

ROOT = Path(__file__).resolve().parents[3]
CONFIGS = [path for path in ROOT.glob("configs/**/*.py") if path.parent.name != "_base_"]


@pytest.mark.parametrize("path", CONFIGS, ids=lambda path: path.stem)
def test_nothing_is_held_against_a_config_of_ours(path):
    cfg = Config.fromfile(path)
    teacher = cfg.model.get("teacher")
    if teacher and teacher.get("checkpoint"):  # another run's, which was not made here
        teacher.checkpoint = None
        teacher.allow_random_weights = True
    check_config(cfg)


def test_nothing_is_held_against_parts_of_others():
    hook = dict(type="mmengine.EMAHook", momentum=0.1)
    check_config(training("x", custom_hooks=[hook, dict(type="a.lab.of.its.own.LambdaDecay")]))


def test_all_mistakes_are_told_at_once_and_one_alone_as_it_is():
    cfg = training("x")
    cfg.model.link_head.loss_weight = -1.0
    with pytest.raises(ValueError, match="^link_head.loss_weight=-1.0; choose"):
        check_config(cfg)
    cfg.model.teacher.checkpont = "a.pth"
    cfg.custom_hooks[0].gamas = 1.0
    with pytest.raises(ValueError) as error:
        check_config(cfg, lambda: (_ for _ in ()).throw(OSError("no data")))
    lines = str(error.value).splitlines()
    assert lines[0] == "4 mistakes"
    for words in ("loss_weight=-1.0", "did you mean 'checkpoint'", "'gammas'", "no data"):
        assert sum(words in line for line in lines) == 1


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


def test_weights_of_another_model_are_refused_and_a_head_for_other_classes_is_not():
    model, plain = build(AAL), build(PLAIN)
    check_fit(model, plain.state_dict(), "load_from", all_of_them=True)  # an exported student
    wider = dict(PLAIN["head"], num_classes=7)
    tuned = build(dict(PLAIN, head=wider))
    check_fit(tuned, plain.state_dict(), "load_from")
    with pytest.raises(ValueError, match=r"2 of \d+ weights do not fit; 'head.layers.head.weight'"):
        check_fit(tuned, plain.state_dict(), "load_from", all_of_them=True)
    larger = build(dict(PLAIN, backbone=dict(PLAIN["backbone"], img_size=48)))
    check_fit(larger, plain.state_dict(), "load_from", all_of_them=True)  # position embedding
    with pytest.raises(ValueError, match="a='b' is a checkpoint of another model: .* missing"):
        check_fit(plain, {"x": torch.zeros(1)}, "a='b'")


def test_a_label_beyond_the_head_is_told_before_the_first_step(tmp_path):
    cfg = training(tmp_path)
    cfg.model.head.num_classes = 9
    cfg.default_hooks.fit = dict(type="FitCheckHook")
    with pytest.raises(ValueError, match=r"train_dataloader.dataset \(ShapesDataset\) has 10 cl"):
        Runner.from_cfg(cfg).train()
    assert not list(tmp_path.glob("*.pth"))


def test_labels_are_counted_where_a_data_set_names_no_classes():
    from aal_plugin.mm.hooks.fit_check_hook import check_labels

    class Labels:
        def get_gt_labels(self):
            return [0, 3, 11]

    with pytest.raises(ValueError, match="has 12 labels, but model.head.num_classes=10"):
        check_labels("val_dataloader", Labels(), build(PLAIN))


def test_as_many_classes_as_the_head_has_are_right():
    from aal_plugin.mm.hooks.fit_check_hook import check_labels

    class Named:
        metainfo = dict(classes=tuple("abcdefghij"))

    check_labels("val_dataloader", Named(), build(PLAIN))
    Named.metainfo = dict(classes=tuple("abcdefghijk"))
    with pytest.raises(ValueError, match=r"val_dataloader.dataset \(Named\) has 11 classes"):
        check_labels("val_dataloader", Named(), build(PLAIN))


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
