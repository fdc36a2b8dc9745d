"""A classifier's teacher gets its weights when training first needs them."""

import copy

import pytest
import timm
import torch
from mmengine.model import ExponentialMovingAverage
from mmengine.runner import Runner
from mmpretrain import get_model
from mmpretrain.registry import MODELS

from aal_plugin.core import TimmTeacher
from tests.mm.small import AAL, TEACHER, batch, build, total, training


@pytest.fixture
def late(tmp_path):
    """A teacher with a file of weights, and the file's weights."""
    torch.manual_seed(5)
    weights = timm.create_model("test_resnet", num_classes=10).state_dict()
    torch.save(weights, tmp_path / "teacher.pth")
    given = dict(TEACHER, allow_random_weights=False, num_classes=10)
    return dict(given, checkpoint=str(tmp_path / "teacher.pth"), fold_norms=False), weights


def test_a_model_without_the_file_predicts_loads_strictly_and_fails_to_train(late):
    gone = dict(late[0], checkpoint="gone.pth")
    heads = dict(AAL, distill_head=dict(type="DistillHead", kind="soft"))
    trained = build(heads, teacher=late[0]).train()
    model = build(heads, teacher=gone)
    model.load_state_dict(trained.state_dict())  # strictly, the links among it
    images, samples = batch()
    model.eval(), trained.eval()
    assert torch.equal(model(images, mode="tensor"), trained(images, mode="tensor"))
    assert "pred_score" in model(images, copy.deepcopy(samples), mode="predict")[0]
    for needs in (model.train, lambda: model.teacher, lambda: model(images, samples, mode="loss")):
        with pytest.raises(FileNotFoundError, match="teacher.checkpoint='gone.pth': no such file"):
            needs()


def test_training_has_the_files_weights_and_the_losses_of_a_teacher_built_at_once(late):
    given, weights = late
    one, other = build(AAL, teacher=given), build(AAL, teacher=TimmTeacher(**without_type(given)))
    other.load_state_dict(one.state_dict())
    one.train(), other.train()
    for key, tensor in one.teacher.model.state_dict().items():
        assert torch.equal(tensor, weights[key]), key
    losses = [model(*batch(), mode="loss") for model in (one, other)]
    assert total(losses[0]) == total(losses[1])


def without_type(given):
    return {key: value for key, value in given.items() if key != "type"}


def test_it_goes_where_the_model_went_and_copies_share_it(late):
    model = build(AAL, teacher=late[0])
    ema = ExponentialMovingAverage(model)
    ema.to(torch.bfloat16)  # a copy moves no teacher
    model.double().to("meta")
    assert not [key for key in model.state_dict() if "teacher" in key or "_like" in key]
    teacher = ema.module.teacher
    assert teacher is model.teacher
    first = next(teacher.parameters())
    assert first.dtype == torch.float64 and first.device.type == "meta"
    assert not any(p is first for p in model.parameters())


def test_it_draws_no_random_number_of_the_run(late):
    model = build(AAL, teacher=late[0])
    torch.manual_seed(7)
    expected = torch.rand(3)
    torch.manual_seed(7)
    model.train()
    assert torch.equal(torch.rand(3), expected)
    assert model._teacher.module.built is not None  # before a step is compiled


def test_mmpretrains_get_model_and_test_need_no_file(tmp_path, late):
    cfg = training(tmp_path / "run", model=dict(AAL, teacher=late[0]), epochs=1, images=20)
    cfg.merge_from_dict(dict(test_dataloader=cfg.val_dataloader, test_cfg=dict()))
    cfg.test_evaluator = cfg.val_evaluator
    Runner.from_cfg(copy.deepcopy(cfg)).train()
    saved = str(tmp_path / "run" / "epoch_1.pth")
    cfg.model.teacher.checkpoint = "gone.pth"
    cfg.merge_from_dict(dict(work_dir=str(tmp_path / "test"), load_from=saved))
    cfg.experiment_name += "-test"
    assert "accuracy/top1" in Runner.from_cfg(cfg).test()
    model = get_model(cfg, pretrained=saved)
    expected = torch.load(saved, weights_only=False)["state_dict"]
    assert all(torch.equal(model.state_dict()[key], expected[key]) for key in expected)


@MODELS.register_module(force=True)
class OwnTeacher(TimmTeacher):
    def __init__(self, checkpoint):
        super().__init__("test_resnet", checkpoint=checkpoint, num_classes=10)


def test_a_teacher_of_a_class_of_ones_own_is_built_at_once(late):
    model = build(AAL, teacher=dict(type="OwnTeacher", checkpoint=late[0]["checkpoint"]))
    total(model.train()(*batch(), mode="loss")).backward()


def test_two_sources_of_weights_are_told_when_the_model_is_built(late):
    with pytest.raises(ValueError, match="two sources of weights"):
        build(AAL, teacher=dict(late[0], pretrained=True))
