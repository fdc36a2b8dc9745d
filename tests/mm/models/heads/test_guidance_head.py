"""`AALClassifier(guidance=...)`: hints with pairs by hand, and the loss of `LinkedStudent`."""

import pytest
import torch
from mmengine.config import Config
from torch import nn

from aal_plugin.core import LinkedStudent
from aal_plugin.mm.dry_run.run_summary import _guidance
from aal_plugin.mm.export.plain import student_of
from tests.mm.small import AAL, batch, build, total

GUIDED = {key: value for key, value in AAL.items() if key != "link_head"} | dict(guidance=2.5)
PAIRS = [(1, 1), (2, 3), (3, 4)]  # three blocks, four levels
BY_HAND = dict(type="HintHead", pairs=PAIRS, loss_weight=2.5)


def gradients(model, data):
    losses = model(*data, mode="loss")
    total(losses).backward()
    return losses, {name: p.grad for name, p in model.named_parameters()}


@pytest.mark.parametrize("base", [AAL, GUIDED], ids=["beside links", "alone"])
def test_it_is_hints_with_pairs_by_hand_to_the_bit(base):
    guided = build(dict(base, guidance=2.5)).train()
    by_hand = build(dict(base, guidance=None, transfer_head=BY_HAND)).train()
    assert guided.guidance.recording.pairs == PAIRS
    names = {n.replace("transfer_head.", "guidance."): p for n, p in by_hand.named_parameters()}
    for name, parameter in guided.named_parameters():
        assert torch.equal(parameter, names[name]), name
    (losses, grads), (hints, others) = (gradients(m, batch()) for m in (guided, by_hand))
    assert losses["loss_guidance"] > 0
    for key, value in losses.items():
        assert torch.equal(value, hints[key.replace("guidance", "hint")]), key
    for name, grad in grads.items():
        assert torch.equal(grad, others[name.replace("guidance.", "transfer_head.")]), name


def test_loss_and_gradients_are_those_of_the_linked_student():
    setting = dict(weight=1.5, blocks=[2, 3], levels=[4, 2])
    model = build(AAL, guidance=setting).double().train()
    images, samples = batch()
    images = images.double()
    losses, grads = gradients(model, (images, samples))
    linked = LinkedStudent(model.backbone, model.teacher.channels, guidance=setting).double()
    linked.links.load_state_dict(model.link_head.links.state_dict())
    linked.guidance.regressors.load_state_dict(model.guidance.regressors.state_dict())
    model.zero_grad()
    feats, distance, guidance = linked(images, model.teacher(images)[0])
    loss = model.head.loss(feats, samples)["loss"] + 2000 * distance + guidance
    loss.backward()
    torch.testing.assert_close(losses["loss_guidance"], guidance)
    torch.testing.assert_close(total(losses), loss)
    for name, parameter in linked.student.named_parameters():
        torch.testing.assert_close(grads[f"backbone.{name}"], parameter.grad)
    for name, parameter in linked.guidance.named_parameters():
        torch.testing.assert_close(grads[f"guidance.{name}"], parameter.grad)


def test_links_and_guidance_share_one_pass_of_teacher_and_student():
    model = build(AAL, guidance=2.5).train()
    calls = []
    for module in (model.teacher.model.conv1, model.backbone.patch_embed):
        module.register_forward_hook(lambda module, *_: calls.append(type(module).__name__))
    losses = model(*batch(), mode="loss")
    assert sorted(calls) == ["PatchEmbed", "Sequential"]
    logged = {key for key in losses if "guidance" in key}
    assert logged == {"loss_guidance", "guidance_distance", "guidance_weight"}
    model.guidance.set_weight(0.0)
    model.link_head.set_weight(0.0)
    losses = model(*batch(), mode="loss")
    assert sorted(calls) == ["PatchEmbed", "PatchEmbed", "Sequential"]  # no pass of the teacher
    assert total(losses) == losses["loss"]
    total(losses).backward()
    assert all(p.grad is not None for p in model.guidance.parameters())


def test_an_export_drops_it_and_the_summary_names_its_pairs():
    model = build(AAL, guidance=2.5)
    state = model.state_dict()
    assert [key for key in state if key.startswith("guidance.")] == [
        f"guidance.regressors.{pair}.{kind}" for pair in range(3) for kind in ("weight", "bias")
    ]
    config = Config(dict(model=dict(AAL, guidance=2.5), default_scope="mmpretrain"))
    student = student_of(config, state, "epoch_1.pth")
    images, _ = batch()
    assert torch.equal(student(images), model.eval()(images))
    (row,) = _guidance(model)
    assert row == "weight 2.5; block 1 ← layer1, block 2 ← layer3, block 3 ← layer4"
    assert list(_guidance(build(AAL))) == list(_guidance(nn.Identity())) == []


def test_it_needs_a_teacher_and_a_weight():
    with pytest.raises(ValueError, match="no teacher, but its heads need the teacher's activat"):
        build(GUIDED, teacher=None)
    with pytest.raises(ValueError, match="guidance='on'; choose a weight, 0 or more"):
        build(GUIDED, guidance="on")
