"""A distilled DeiT through MMEngine's Runner, from the config to the exported checkpoint."""

import pytest
import torch
from mmengine.config import Config
from mmengine.registry import init_default_scope
from mmengine.runner import CheckpointLoader, Runner
from mmpretrain.registry import MODELS

from aal_plugin.mm.export import export_student
from tests.mm.small import AAL, PLAIN, TEACHER, scalars, training

DISTILLED = dict(
    AAL,
    backbone=dict(PLAIN["backbone"], type="DistilledVisionTransformer"),
    head=dict(PLAIN["head"], type="DeiTClsHead"),
    teacher=dict(TEACHER, num_classes=10),
    distill_head=dict(type="DistillHead", token=True),
)


def hooks(*more):
    return [dict(type="LambdaDecayHook", gammas=(0.5,)), *more]


def test_distilled_deit_trains_an_epoch_and_exports_to_a_plain_checkpoint(tmp_path):
    accuracy = dict(type="TeacherAccuracyHook")
    config = training(tmp_path, DISTILLED, epochs=2, custom_hooks=hooks(accuracy))
    Runner.from_cfg(config).train()

    logged = [line for line in scalars(tmp_path) if "accuracy/teacher_top1" in line]
    assert len(logged) == 2 and len({line["accuracy/teacher_top1"] for line in logged}) == 1

    out = tmp_path / "student.pth"
    export_student(config, str(tmp_path / "epoch_2.pth"), str(out))
    plain = Config.fromfile(out.with_suffix(".py"))
    assert plain.model.type == "ImageClassifier" and "custom_hooks" not in plain
    assert not {"teacher", "link_head", "distill_head"} & set(plain.model)
    init_default_scope("mmpretrain")
    student = MODELS.build(plain.model)
    saved = CheckpointLoader.load_checkpoint(str(out), map_location="cpu")["state_dict"]
    assert student.load_state_dict(saved, strict=True)
    assert {key.split(".")[0] for key in saved} == {"backbone", "head"}
    assert {type(student.backbone).__name__, type(student.head).__name__} == {
        "DistilledVisionTransformer",
        "DeiTClsHead",
    }


def test_fine_tuning_at_a_higher_resolution_starts_from_the_checkpoint(tmp_path):
    ema = dict(type="EMAHook", momentum=0.1, priority="ABOVE_NORMAL")
    small = training(tmp_path / "small", DISTILLED, epochs=1, custom_hooks=hooks(ema))
    Runner.from_cfg(small).train()
    config = training(tmp_path / "large", DISTILLED, epochs=1, custom_hooks=hooks(ema))
    config.model.backbone.img_size = 48
    for loader in (config.train_dataloader, config.val_dataloader):
        loader.dataset.size = 48
    config.load_from = str(tmp_path / "small" / "epoch_1.pth")
    config.optim_wrapper.optimizer.lr = 0.0
    runner = Runner.from_cfg(config)
    runner.train()
    (averaged,) = (hook.ema_model.module for hook in runner.hooks if hasattr(hook, "ema_model"))
    saved = CheckpointLoader.load_checkpoint(config.load_from)["state_dict"]
    key = "backbone.pos_embed"
    assert saved[key].shape[1] == 2 + 3 * 3
    for model in (runner.model, averaged):
        tuned = model.state_dict()
        assert tuned[key].shape[1] == 2 + 6 * 6
        assert torch.equal(tuned[key][:, :2], saved[key][:, :2])
        assert all(torch.equal(tuned[name], saved[name]) for name in saved if name != key)


def test_teachers_accuracy_is_that_of_its_own_predictions(tmp_path):
    config = training(tmp_path, DISTILLED, epochs=1, custom_hooks=hooks())
    config.custom_hooks.append(dict(type="TeacherAccuracyHook"))
    runner = Runner.from_cfg(config)
    runner.train()
    right = seen = 0
    for data in runner.val_dataloader:
        data = runner.model.data_preprocessor(data, training=False)
        with torch.no_grad():
            _, logits = runner.model.teacher(data["inputs"], with_logits=True)
        labels = torch.cat([sample.gt_label for sample in data["data_samples"]])
        right += (logits.argmax(1) == labels).sum().item()
        seen += len(labels)
    (line,) = [line for line in scalars(tmp_path) if "accuracy/teacher_top1" in line]
    assert line["accuracy/teacher_top1"] == pytest.approx(100 * right / seen)


def test_weight_of_transfer_decays_by_the_same_hook(tmp_path):
    model = dict(DISTILLED, transfer_head=dict(type="ActivationTransferHead", loss_weight=8.0))
    config = training(
        tmp_path,
        model,
        epochs=2,
        images=10,
        custom_hooks=[dict(type="LambdaDecayHook", gammas=(0.5,), head="transfer_head")],
    )
    Runner.from_cfg(config).train()
    weights = [line["transfer_weight"] for line in scalars(tmp_path) if "transfer_weight" in line]
    links = [line["link_weight"] for line in scalars(tmp_path) if "link_weight" in line]
    assert weights == [8.0, 4.0] and links == [2000.0, 2000.0]


@pytest.mark.parametrize(
    ("hook", "words"),
    [
        (dict(type="TeacherAccuracyHook"), "needs a model with a teacher, but ImageClassifier"),
        (
            dict(type="LambdaDecayHook", gammas=(0.5,), head="distill_head"),
            "needs a distill_head, and ImageClassifier has none",
        ),
    ],
)
def test_hooks_that_the_model_has_no_use_for_say_so(tmp_path, hook, words):
    config = training(tmp_path, PLAIN, custom_hooks=[hook])
    with pytest.raises(ValueError, match=words):
        Runner.from_cfg(config).train()


def test_teachers_accuracy_is_asked_of_a_model_without_one_in_validation_alone(tmp_path):
    config = training(tmp_path, PLAIN, custom_hooks=[dict(type="TeacherAccuracyHook")])
    with pytest.raises(ValueError, match="needs a model with a teacher, but ImageClassifier"):
        Runner.from_cfg(config).val()
