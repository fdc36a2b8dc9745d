"""One method, two front ends: AALClassifier and AttentionLinkTask give the same numbers."""

import pytest
import timm
import torch
from mmengine.registry import init_default_scope
from mmpretrain.registry import MODELS
from mmpretrain.structures import DataSample
from torch import nn

import aal_plugin.mm  # noqa: F401
from aal_plugin.core import LinkedStudent, TimmTeacher
from aal_plugin.timm import AttentionLinkTask, Distillation

CLASSES, WEIGHT = 5, 3.0
SHAPE = dict(img_size=32, patch_size=8, embed_dim=16, depth=3, num_heads=2)
NAMES = dict(plain="vit_tiny_patch16_224", token="deit_tiny_distilled_patch16_224")


def teacher():
    torch.manual_seed(1)
    return TimmTeacher("test_resnet", num_classes=CLASSES, allow_random_weights=True)


def student(name):
    torch.manual_seed(2)
    model = timm.create_model(name, num_classes=CLASSES, **SHAPE)
    for parameter in model.parameters():
        nn.init.normal_(parameter, std=0.3)
    return model


def classifier(name, model, linked, distill):
    """MMPretrain's front end, on the very weights of a timm student."""
    init_default_scope("mmpretrain")
    distilled = "distilled" in name
    head = "DeiTClsHead" if distilled else "LinearClsHead"
    normalised = model.pretrained_cfg
    built = MODELS.build(
        dict(
            type="AALClassifier",
            backbone=dict(type="TIMMPooledBackbone", model_name=name, **SHAPE),
            head=dict(type=head, num_classes=CLASSES, in_channels=16),
            teacher=teacher(),
            link_head=linked.link_loss
            and dict(type="AttentionLinkHead", links="alpha", loss_weight=WEIGHT),
            guidance=linked.guidance and dict(weight=linked.guidance.weight, levels=[2, 4]),
            distill_head=distill and dict(type="DistillHead", **distill),
            data_preprocessor=dict(
                mean=[255 * v for v in normalised["mean"]],
                std=[255 * v for v in normalised["std"]],
                to_rgb=True,
            ),
        )
    )
    timms = model.state_dict()
    heads = {key: timms.pop(key) for key in list(timms) if key.startswith("head")}
    built.backbone.timm_model.load_state_dict(timms)
    places = (
        dict(head="layers.head", head_dist="layers.head_dist") if distilled else dict(head="fc")
    )
    built.head.load_state_dict(
        {key.replace(key.split(".")[0], places[key.split(".")[0]]): v for key, v in heads.items()}
    )
    if linked.link_loss is not None:
        built.link_head.links.load_state_dict(linked.links.state_dict())
    if linked.guidance is not None:
        built.guidance.regressors.load_state_dict(linked.guidance.regressors.state_dict())
    return built.double()


@pytest.mark.parametrize(
    ("name", "distill", "links", "guidance"),
    [
        ("plain", None, "alpha", None),
        ("plain", None, "alpha", 2.5),
        ("plain", None, None, 0.5),
        ("plain", dict(kind="soft", temperature=2.0), "alpha", None),
        ("plain", dict(kind="soft", reduction="elements"), "alpha", None),
        ("plain", dict(kind="hard"), "alpha", None),
        ("token", dict(kind="hard", token=True), "alpha", None),
        ("token", dict(kind="soft", token=True), "alpha", None),
    ],
    ids=[
        "plain",
        "guided",
        "guidance",
        "soft",
        "soft-elements",
        "hard",
        "token-hard",
        "token-soft",
    ],
)
def test_the_same_loss_link_distance_and_gradients(name, distill, links, guidance):
    name = NAMES[name]
    model = student(name)
    task = AttentionLinkTask(
        model,
        teacher(),
        nn.CrossEntropyLoss(),
        links=links,
        loss_weight=WEIGHT,
        guidance=guidance and dict(weight=guidance, levels=[2, 4]),
        distill=distill and Distillation(**distill),
        verbose=False,
    ).double()
    linked = task.get_trainable_module()
    for parameter in linked.added_parameters():
        if parameter.dim() > 1:
            nn.init.normal_(parameter)
    mm = classifier(name, model, linked, distill)
    task.train(), mm.train()

    generator = torch.Generator().manual_seed(3)
    images = torch.randn(6, 3, 32, 32, generator=generator, dtype=torch.float64)
    labels = torch.randint(CLASSES, (6,), generator=generator)
    timms = task(images, labels)
    losses = mm.loss(images, [DataSample().set_gt_label(int(label)) for label in labels])
    total = sum(value for key, value in losses.items() if "loss" in key)

    def near(found, expected):
        torch.testing.assert_close(found, expected, rtol=1e-6, atol=1e-9)

    near(total, timms["loss"])
    if links:
        near(losses["loss_link"], timms["link_loss"])
        near(losses["link_distance"], timms["link_loss"] / WEIGHT)
    if guidance:
        near(losses["loss_guidance"], timms["guidance_loss"])
        assert losses["loss_guidance"] > 0.01
    if distill:
        near(losses["distill_distance"], timms["distill_loss"])
        assert losses["distill_distance"] > 0.01

    total.backward()
    timms["loss"].backward()
    pairs = dict(linked.named_parameters())
    added = [key for key, _ in mm.named_parameters() if key.startswith(("link_head", "guidance"))]
    assert len(added) == len(list(linked.added_parameters()))
    for key in added:
        expected = pairs[key.replace("link_head", "link_loss")].grad
        near(mm.get_parameter(key).grad, expected)
        assert expected.abs().max() > 0
    own = dict(mm.backbone.timm_model.named_parameters())
    seen = [key for key, parameter in model.named_parameters() if key in own]
    assert len(seen) == len(own) > 30
    for key in seen:
        expected = dict(model.named_parameters())[key].grad
        near(own[key].grad, expected)
    fc = mm.head.layers.head if "distilled" in name else mm.head.fc
    near(fc.weight.grad, model.head.weight.grad)


@pytest.mark.parametrize(("links", "guidance"), [("alpha", 2.5), (None, 0.5), ("full", None)])
def test_any_loop_with_a_linked_student_gives_the_tasks_loss_and_gradients(links, guidance):
    model = student(NAMES["plain"])
    task = AttentionLinkTask(
        model,
        teacher(),
        nn.CrossEntropyLoss(),
        links=links,
        guidance=guidance,
        loss_weight=WEIGHT,
        verbose=False,
    )
    cnn = teacher()
    cnn.match_input(
        *([255 * v for v in model.pretrained_cfg[key]] for key in ("mean", "std")), True
    )
    linked = LinkedStudent(student(NAMES["plain"]), cnn.channels, links, guidance=guidance)
    linked.load_state_dict(task.get_trainable_module().state_dict())
    images, labels = torch.randn(6, 3, 32, 32), torch.randint(CLASSES, (6,))
    logits, distance, *guided = linked(images, cnn(images)[0])
    expected = nn.functional.cross_entropy(logits, labels) + WEIGHT * distance + sum(guided)
    found = task(images, labels)["loss"]
    torch.testing.assert_close(found, expected)
    found.backward(), expected.backward()
    own = dict(task.get_trainable_module().named_parameters())
    for key, parameter in linked.named_parameters():
        torch.testing.assert_close(own[key].grad, parameter.grad)
