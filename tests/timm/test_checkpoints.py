"""What timm's checkpoint helpers save and load of the task, on files and with weights_only."""

import logging
from argparse import Namespace

import pytest
import timm
import torch
from timm.optim import create_optimizer_v2
from timm.task import resume_task_checkpoint
from timm.utils import CheckpointSaver

from .small import CLASSES, SMALL, batch, student, task

NAME = "vit_tiny_patch16_224"


def optimizer_of(one):
    return create_optimizer_v2(one.get_trainable_module(), "adamw", lr=1e-2)


def train(one, optimizer, steps=2, first=0):
    for step in range(first, first + steps):
        optimizer.zero_grad()
        one(*batch(seed=step))["loss"].backward()
        optimizer.step()
        one.update_ema()


def save(one, optimizer, folder):
    saver = CheckpointSaver(
        one.get_trainable_module(),
        optimizer,
        args=Namespace(model=NAME),
        checkpoint_dir=str(folder),
        recovery_dir=str(folder),
        task=one,
    )
    saver.save_checkpoint(0, metric=1.0)
    return str(folder / "last.pth.tar")


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    one = task()
    one.setup_ema(decay=0.5)
    optimizer = optimizer_of(one)
    train(one, optimizer)
    return one, optimizer, save(one, optimizer, tmp_path_factory.mktemp("trained"))


def test_checkpoint_is_the_plain_students_with_the_links_beside(trained):
    one, _, path = trained
    saved = torch.load(path, weights_only=False)
    plain = student()
    assert list(saved["state_dict"]) == list(saved["state_dict_ema"]) == list(plain.state_dict())
    links = saved["task_state"]["links"]
    assert set(links) == {"state_dict", "ranges", "heads"}
    assert links["ranges"] == [(1, 3)] * 4 and links["heads"] == [2, 2, 2]
    elements = sum(tensor.numel() for tensor in links["state_dict"].values())
    assert elements == sum(p.numel() for p in one.get_trainable_module().links.parameters())
    assert not torch.equal(
        saved["task_state_ema"]["links"]["state_dict"]["links.0.weight"],
        links["state_dict"]["links.0.weight"],
    )


@pytest.mark.parametrize("use_ema", [True, False])
def test_student_loads_in_plain_timm(trained, use_ema):
    one, _, path = trained
    plain = timm.create_model(NAME, num_classes=CLASSES, **SMALL).eval()
    timm.models.load_checkpoint(plain, path, use_ema=use_ema)
    images, _ = batch()
    torch.testing.assert_close(plain(images), one.get_eval_model(ema=use_ema).eval()(images))
    by_path = timm.create_model(NAME, num_classes=CLASSES, checkpoint_path=path, **SMALL).eval()
    ema = one.get_eval_model(ema=True).eval()
    torch.testing.assert_close(by_path(images), ema(images))


def test_student_loads_in_timm_backbone(trained):
    pytest.importorskip("mmpretrain")
    from mmpretrain.models import TIMMBackbone

    one, _, path = trained
    backbone = TIMMBackbone(NAME, checkpoint_path=path, num_classes=CLASSES, **SMALL)
    backbone.eval()
    images, _ = batch()
    expected = one.get_eval_model(ema=True).eval().forward_features(images)
    torch.testing.assert_close(backbone(images)[0], expected)


def test_links_of_other_blocks_are_an_error(trained):
    _, _, path = trained
    with pytest.raises(ValueError, match=r"they have {'ranges': \[\(1, 3\), .*this run's have"):
        resume_task_checkpoint(task(links="alpha"), path)


def test_checkpoint_without_links_warns(trained, tmp_path, caplog):
    path = str(tmp_path / "plain.pth")
    torch.save(dict(state_dict=student(seed=5).state_dict()), path)
    one = task()
    with caplog.at_level(logging.WARNING):
        resume_task_checkpoint(one, path)
    assert "holds no links" in caplog.text
    torch.testing.assert_close(one.get_eval_model().state_dict(), student(seed=5).state_dict())


def test_a_state_of_another_kind_is_an_error():
    with pytest.raises(ValueError, match="the checkpoint's links cannot be loaded: "):
        task().load_task_state(dict(links=dict(ranges=[])))


def test_guidance_goes_into_equal_guidance_alone():
    one, other = task(guidance=2.5), task(guidance=2.5)
    with torch.no_grad():
        one.get_trainable_module().guidance.regressors[0].weight.fill_(0.5)
    other.load_task_state(one.get_task_state())
    states = [each.get_trainable_module().guidance.state_dict() for each in (one, other)]
    torch.testing.assert_close(*states, rtol=0, atol=0)
    fewer = task(guidance=dict(weight=1.0, levels=[2, 4]))
    with pytest.raises(
        ValueError, match=r"guidance cannot be loaded: they have {'pairs': \[\(1, 1\)"
    ):
        fewer.load_task_state(one.get_task_state())
