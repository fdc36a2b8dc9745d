"""One method, two front ends: AALClassifier and AttentionLinkTask give the same numbers."""

import pytest
import timm
import torch
from mmengine.registry import init_default_scope
from mmpretrain.registry import MODELS
from mmpretrain.structures import DataSample
from torch import nn

import aal_plugin.mm  # noqa: F401
from aal_plugin.core import TimmTeacher
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


def classifier(name, model, links, distill):
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
            link_head=dict(type="AttentionLinkHead", links="alpha", loss_weight=WEIGHT),
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
    built.link_head.links.load_state_dict(links.state_dict())
    return built.double()


@pytest.mark.parametrize(
    ("name", "distill"),
    [
        ("plain", None),
        ("plain", dict(kind="soft", temperature=2.0)),
        ("plain", dict(kind="soft", reduction="elements")),
        ("plain", dict(kind="hard")),
        ("token", dict(kind="hard", token=True)),
        ("token", dict(kind="soft", token=True)),
    ],
    ids=["plain", "soft", "soft-elements", "hard", "token-hard", "token-soft"],
)
def test_the_same_loss_link_distance_and_gradients(name, distill):
    name = NAMES[name]
    model = student(name)
    task = AttentionLinkTask(
        model,
        teacher(),
        nn.CrossEntropyLoss(),
        links="alpha",
        loss_weight=WEIGHT,
        distill=distill and Distillation(**distill),
        verbose=False,
    ).double()
    linked = task.get_trainable_module()
    for link in linked.links:
        nn.init.normal_(link.weight)
    mm = classifier(name, model, linked.links, distill)
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
    near(losses["loss_link"], timms["link_loss"])
    near(losses["link_distance"], timms["link_loss"] / WEIGHT)
    if distill:
        near(losses["distill_distance"], timms["distill_loss"])
        assert losses["distill_distance"] > 0.01

    total.backward()
    timms["loss"].backward()
    pairs = dict(linked.links.named_parameters())
    for key, parameter in mm.link_head.links.named_parameters():
        near(parameter.grad, pairs[key].grad)
        assert parameter.grad.abs().max() > 0
    own = dict(mm.backbone.timm_model.named_parameters())
    seen = [key for key, parameter in model.named_parameters() if key in own]
    assert len(seen) == len(own) > 30
    for key in seen:
        expected = dict(model.named_parameters())[key].grad
        near(own[key].grad, expected)
    fc = mm.head.layers.head if "distilled" in name else mm.head.fc
    near(fc.weight.grad, model.head.weight.grad)
