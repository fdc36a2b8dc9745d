"""Students within an AALClassifier: timm's with MMPretrain's heads, named attention, keys."""

import copy

import pytest
import timm
import torch
from mmengine.registry import init_default_scope
from mmpretrain.registry import MODELS

from aal_plugin.core import AttentionRecorder
from aal_plugin.mm import TIMMPooledBackbone
from tests.mm.small import AAL, batch, build, total

POOLED = dict(type="TIMMPooledBackbone", img_size=48)
PIT = dict(base_dims=(8, 8, 8), depth=(1, 1, 1))
VIT_SIZE = dict(embed_dim=16, depth=2, num_heads=2)
CLASSES = dict(num_classes=10, in_channels=16)


@pytest.mark.parametrize(
    ("backbone", "head"),
    [
        (dict(POOLED, model_name="pit_ti_224", **PIT), dict(in_channels=64)),
        (
            dict(POOLED, model_name="pit_ti_distilled_224", **PIT),
            dict(type="DeiTClsHead", in_channels=64),
        ),
        (
            dict(
                POOLED,
                model_name="swin_tiny_patch4_window7_224",
                window_size=6,
                embed_dim=8,
                depths=(2, 2),
                num_heads=(1, 2),
            ),
            dict(),
        ),
        (dict(POOLED, model_name="deit_tiny_patch16_224", **VIT_SIZE), dict()),
        (
            dict(POOLED, model_name="deit_tiny_distilled_patch16_224", **VIT_SIZE),
            dict(type="DeiTClsHead"),
        ),
        (dict(POOLED, model_name="vit_tiny_patch16_224", reg_tokens=2, **VIT_SIZE), dict()),
        (dict(POOLED, model_name="convit_tiny", embed_dim=4, depth=11), dict()),
    ],
)
def test_timm_students_train_with_mmpretrains_heads(backbone, head):
    init_default_scope("mmpretrain")
    head = dict(dict(CLASSES, type="LinearClsHead"), **head)
    model = MODELS.build(copy.deepcopy(dict(AAL, backbone=backbone, head=head)))
    model.init_weights()
    model.train()
    losses = model(*batch(image=(48, 48)), mode="loss")
    total(losses).backward()
    assert all(p.grad.abs().sum() > 0 for p in model.link_head.parameters())
    assert next(model.backbone.parameters()).grad.abs().sum() > 0


@pytest.mark.parametrize(
    ("name", "small"),
    [
        ("pit_ti_224", dict(PIT, img_size=48)),
        (
            "swin_tiny_patch4_window7_224",
            dict(img_size=48, window_size=6, embed_dim=8, depths=(1, 1), num_heads=(1, 2)),
        ),
    ],
)
def test_pooled_backbone_gives_what_the_timm_model_gives_its_classifier(name, small):
    torch.manual_seed(0)
    model = timm.create_model(name, num_classes=0, **small).eval()
    backbone = TIMMPooledBackbone(name, **small)
    backbone.eval()
    backbone.timm_model.load_state_dict(model.state_dict())
    images = torch.randn(1, 3, 48, 48)
    with torch.no_grad():
        assert torch.equal(backbone(images)[0], model(images))


def test_pit_is_read_inside_timm_backbone_too():
    init_default_scope("mmpretrain")
    backbone = MODELS.build(dict(POOLED, type="TIMMBackbone", model_name="pit_ti_224", **PIT))
    assert AttentionRecorder(backbone).heads == [2, 4, 8]


def test_attention_layers_name_the_attention_of_a_backbone_of_ones_own():
    named = dict(attention="layers.*.attn", patch_embed="patch_embed.projection")
    known = build(AAL)
    told = build(AAL, link_head=dict(AAL["link_head"], attention_layers=named))
    told.load_state_dict(known.state_dict())
    data = batch()
    for key, value in known(*data, mode="loss").items():
        torch.testing.assert_close(value, told(*data, mode="loss")[key])
    with pytest.raises(ValueError, match="no module 'blocks"):
        build(AAL, link_head=dict(AAL["link_head"], attention_layers="blocks.*.attn"))
