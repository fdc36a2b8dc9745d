"""Every family's maps against what its blocks themselves put on the values, in float64.

No scale, norm or bias is repeated here: the softmax weights are taken from inside the forward
pass, or from the block's own attention function with the identity matrix as values.
"""

import pytest
import timm
import torch
from mmengine.registry import init_default_scope
from mmpretrain.registry import MODELS

from aal_plugin.core import AttentionRecorder
from tests.core.student.attention_loops import InterceptedWeights, class_row, received

SMALL = dict(
    arch=dict(embed_dims=16, num_layers=2, num_heads=2, feedforward_channels=32),
    img_size=(24, 16),
    patch_size=8,
)
T2T = dict(
    type="T2T_ViT",
    img_size=32,
    embed_dims=16,
    num_layers=2,
    t2t_cfg=dict(token_dims=8, use_performer=False),
    layer_cfgs=dict(num_heads=2, feedforward_channels=32),
)
TIMM = dict(img_size=(24, 16), patch_size=8, embed_dim=16, depth=2, num_heads=2)
PIT = dict(img_size=(32, 48), base_dims=(8, 8, 8), depth=(1, 2, 1), heads=(1, 2, 4))
CONVIT = dict(img_size=32, patch_size=8, embed_dim=8, depth=3, num_heads=4, local_up_to_layer=2)


def of_mmpretrain(config):
    init_default_scope("mmpretrain")
    torch.manual_seed(0)
    return MODELS.build(config)


def of_timm(name, **kwargs):
    torch.manual_seed(0)
    return timm.create_model(name, num_classes=5, **kwargs)


CASES = {
    "vit": (lambda: of_mmpretrain(dict(SMALL, type="VisionTransformer")), (24, 16), 1),
    "distilled": (
        lambda: of_mmpretrain(dict(SMALL, type="DistilledVisionTransformer")),
        (24, 16),
        2,
    ),
    "deit3": (lambda: of_mmpretrain(dict(SMALL, type="DeiT3")), (24, 16), 1),
    "no class token": (
        lambda: of_mmpretrain(
            dict(SMALL, type="VisionTransformer", with_cls_token=False, out_type="raw")
        ),
        (24, 16),
        0,
    ),
    "t2t": (lambda: of_mmpretrain(T2T), (32, 48), 1),
    "t2t of another scale": (
        lambda: of_mmpretrain(dict(T2T, layer_cfgs=dict(T2T["layer_cfgs"], qk_scale=0.3))),
        (32, 48),
        1,
    ),
    "beit": (lambda: of_mmpretrain(dict(SMALL, type="BEiTViT")), (24, 16), 1),
    "timm vit": (lambda: of_timm("vit_tiny_patch16_224", **TIMM), (24, 16), 1),
    "timm registers": (
        lambda: of_timm("vit_tiny_patch16_224", reg_tokens=2, qk_norm=True, **TIMM),
        (24, 16),
        3,
    ),
    "timm no class token": (
        lambda: of_timm("vit_tiny_patch16_224", class_token=False, global_pool="avg", **TIMM),
        (24, 16),
        0,
    ),
    "timm distilled": (lambda: of_timm("deit_tiny_distilled_patch16_224", **TIMM), (24, 16), 2),
    "timm beit": (
        lambda: of_timm("beit_base_patch16_224", img_size=32, embed_dim=16, depth=2, num_heads=2),
        (32, 32),
        1,
    ),
    "timm pit": (lambda: of_timm("pit_ti_224", **PIT), (32, 48), 1),
    "timm convit": (lambda: of_timm("convit_tiny", **CONVIT), (32, 32), None),
}


@pytest.mark.parametrize("case", CASES)
def test_maps_are_the_weights_that_the_blocks_put_on_their_values(case):
    make, size, prefix = CASES[case]
    model = make().double()
    model.eval()  # MMPretrain answers None
    for parameter in model.parameters():  # away from zero biases and uniform attention
        torch.nn.init.normal_(parameter, std=0.5)
    recorder = AttentionRecorder(model)
    images = torch.randn(2, 3, *size, dtype=torch.float64)
    recorder.start(size)
    with torch.no_grad():
        with InterceptedWeights() as seen:
            model(images)
        maps = recorder.stop()
    if case.startswith("t2t"):  # its tokens-to-token module attends too, before the blocks
        seen.weights = seen.weights[-len(maps) :]
    if case == "timm convit":  # two gated blocks of two softmaxes each: tested in test_families
        maps, seen.weights, prefix = maps[2:], seen.weights[4:], 1
    assert len(seen.weights) == len(maps)
    for weights, got in zip(seen.weights, maps):
        read = class_row if prefix else received
        for image in range(2):
            wanted = read(weights[image], prefix, got.shape[-2:])
            torch.testing.assert_close(got[image], wanted)


@pytest.mark.parametrize("case", ["vit", "distilled", "deit3", "t2t", "t2t of another scale"])
def test_maps_are_the_blocks_own_function_with_the_identity_as_values(case):
    make, size, prefix = CASES[case]
    model = make().double()
    model.eval()  # MMPretrain answers None
    for parameter in model.parameters():
        torch.nn.init.normal_(parameter, std=0.5)
    recorder, projected = AttentionRecorder(model), []
    attentions = [block.attn for block in getattr(model, "layers", None) or model.encoder]
    for attn in attentions:
        attn.qkv.register_forward_hook(lambda m, args, out: projected.append(out))
    recorder.start(size)
    with torch.no_grad():
        model(torch.randn(2, 3, *size, dtype=torch.float64))
        for attn, qkv, got in zip(attentions, projected, recorder.stop()):
            query, key, _ = qkv.unflatten(-1, (3, attn.num_heads, -1)).permute(2, 0, 3, 1, 4)
            identity = torch.eye(qkv.shape[1], dtype=torch.float64).expand(*key.shape[:2], -1, -1)
            weights = attn.scaled_dot_product_attention(query, key, identity)
            for image in range(2):
                wanted = class_row(weights[image], prefix, got.shape[-2:])
                torch.testing.assert_close(got[image], wanted)
