"""DeiT's distillation beside the links, against timm's own tasks."""

import pytest
import torch
from timm.task import LogitDistillationTask, TokenDistillationTask
from torch import nn

from aal_plugin.timm import Distillation

from .small import CLASSES, PIT, batch, gradients, student, task, teacher

DISTILLED = "deit_tiny_distilled_patch16_224"


def compare(ours, theirs):
    """A step of each: the same loss, logits and gradients of the student."""
    results = []
    for one in (ours, theirs):
        one.get_trainable_module().train()
        results.append(one(*batch()))
        results[-1]["loss"].backward()
    for key in ("loss", "output", "task_loss"):
        torch.testing.assert_close(results[0][key], results[1][key])
    grads = [gradients(model) for model in (ours.get_eval_model(), theirs.get_eval_model())]
    torch.testing.assert_close(*grads)
    return results


def test_soft_distillation_is_timms_at_zero_weight():
    model, cnn = student(), teacher().model
    model.pretrained_cfg = dict(model.pretrained_cfg, mean=(0.4, 0.4, 0.4))  # not the teacher's
    theirs = LogitDistillationTask(
        model, cnn, nn.CrossEntropyLoss(), task_loss_weight=0.7, temperature=2.0, verbose=False
    )
    other = student()
    other.pretrained_cfg = model.pretrained_cfg
    soft = Distillation("soft", loss_weight=0.3, temperature=2.0)
    results = compare(task(other, loss_weight=0.0, distill=soft), theirs)
    torch.testing.assert_close(results[0]["distill_loss"], results[1]["kd_loss"])


@pytest.mark.parametrize("kind", ["soft", "hard"])
def test_token_distillation_is_timms_at_zero_weight(kind):
    theirs = TokenDistillationTask(
        student(DISTILLED),
        teacher().model,
        nn.CrossEntropyLoss(),
        distill_type=kind,
        task_loss_weight=0.5,
        temperature=3.0,
        verbose=False,
    )
    token = Distillation(kind, token=True, loss_weight=0.5)
    results = compare(task(student(DISTILLED), loss_weight=0.0, distill=token), theirs)
    torch.testing.assert_close(results[0]["distill_loss"], results[1]["distill_loss"])


def test_hard_distillation_takes_the_teachers_class_for_a_second_label():
    ours = task(distill=Distillation("hard"))
    images, target = batch()
    result = ours(images, target)
    _, teacher_logits = ours.teacher(images, with_logits=True)
    labels = nn.functional.cross_entropy(result["output"], target)
    taught = nn.functional.cross_entropy(result["output"], teacher_logits.argmax(-1))
    expected = 0.5 * labels + 0.5 * taught + result["link_loss"]
    torch.testing.assert_close(result["loss"], expected)
    assert result["link_loss"] > 0


@pytest.mark.parametrize("name, shape", [(DISTILLED, None), ("pit_ti_distilled_224", PIT)])
def test_token_distillation_trains_both_heads_and_evaluates_their_mean(name, shape):
    model = student(name, **({} if shape is None else dict(shape=shape)))
    ours = task(model, distill=Distillation("hard", token=True))
    ours.train()
    images, target = batch(side=64 if shape else 32)
    ours(images, target)["loss"].backward()
    assert model.head.weight.grad.abs().sum() > 0 and model.head_dist.weight.grad.abs().sum() > 0
    assert ours.get_eval_model().eval()(images).shape == (4, CLASSES)


def test_distilled_student_without_token_distillation_averages_its_heads():
    model = student(DISTILLED)
    model.set_distilled_training(True)  # from an earlier task
    assert task(model)(*batch())["output"].shape == (4, CLASSES)


@pytest.mark.parametrize("name, shape", [("vit_tiny_patch16_224", None), ("pit_ti_224", PIT)])
def test_a_student_without_the_token_is_an_error(name, shape):
    model = student(name, **({} if shape is None else dict(shape=shape)))
    with pytest.raises(ValueError, match="distill.token=True, but .* has no distillation token"):
        task(model, distill=Distillation("hard", token=True))
