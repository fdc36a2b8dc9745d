"""Each MMPretrain family's maps against the full attention matrix, in float64."""

import copy

import pytest
import timm
import torch
import torch.nn.functional as F
from mmengine.registry import init_default_scope
from mmpretrain.registry import MODELS

from aal_plugin.core import AttentionRecorder
from aal_plugin.mm import TIMMPooledBackbone
from tests.core.student.attention_loops import class_row, full_attention, received, swin_received
from tests.mm.small import AAL, PLAIN, batch, build, total

VIT = dict(
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
SWIN = dict(arch=dict(embed_dims=8, depths=[2, 2], num_heads=[1, 2]), drop_path_rate=0.0)


def student(config):
    init_default_scope("mmpretrain")
    torch.manual_seed(0)
    model = MODELS.build(config).double()
    for parameter in model.parameters():
        torch.nn.init.normal_(parameter, std=0.5)
    model.eval()
    return model


def seen_by(modules, model, images):
    recorder, inputs = AttentionRecorder(model), []
    for module in modules:
        module.register_forward_pre_hook(lambda m, args: inputs.append(args[0].detach()))
    recorder.start(images.shape[-2:])
    with torch.no_grad():
        model(images)
        return inputs, recorder.stop()


@pytest.mark.parametrize(
    ("config", "size", "prefix"),
    [
        (dict(VIT, type="VisionTransformer"), (24, 16), 1),
        (dict(VIT, type="VisionTransformer"), (16, 32), 1),  # its position embedding is resized
        (dict(VIT, type="DistilledVisionTransformer"), (24, 16), 2),
        (dict(VIT, type="DeiT3"), (24, 16), 1),
        (dict(VIT, type="VisionTransformer", with_cls_token=False, out_type="raw"), (24, 16), 0),
        (T2T, (32, 48), 1),
        (dict(VIT, type="BEiTViT", use_rel_pos_bias=True), (24, 16), 1),
        (
            dict(VIT, type="BEiTViT", use_rel_pos_bias=False, use_shared_rel_pos_bias=True),
            (24, 16),
            1,
        ),
    ],
)
def test_maps_equal_the_full_attention_of_each_block(config, size, prefix):
    model = student(config)
    blocks = getattr(model, "layers", None) or model.encoder
    attentions = [block.attn for block in blocks]
    images = torch.randn(2, 3, *size, dtype=torch.float64)
    inputs, maps = seen_by(attentions, model, images)
    grid = tuple(maps[0].shape[-2:])
    patch = 16 if config is T2T else 8
    # MMPretrain divides by a qk_scale, and T2T-ViT gives it 1/√D.
    scale = 8**0.5 if config is T2T else 8**-0.5
    assert grid == (size[0] // patch, size[1] // patch)
    for attn, tokens, got in zip(attentions, inputs, maps):
        bias = torch.cat((attn.q_bias, 0 * attn.q_bias, attn.v_bias)) if is_beit(attn) else None
        qkv = attn.qkv(tokens) if bias is None else F.linear(tokens, attn.qkv.weight, bias)
        query, key, _ = qkv.detach().unflatten(-1, (3, 2, -1)).unbind(2)
        for image in range(2):
            weights = full_attention(query[image], key[image], scale, position_bias(model, attn))
            read = class_row if prefix else received
            torch.testing.assert_close(got[image], read(weights, prefix, grid))


def is_beit(attn):
    return hasattr(attn, "q_bias")


def position_bias(model, attn):
    holder = attn if getattr(attn, "relative_position_bias_table", None) is not None else None
    holder = holder or getattr(model, "rel_pos_bias", None)
    if holder is None or not is_beit(attn):
        return None
    index = holder.relative_position_index
    table = holder.relative_position_bias_table.detach()
    return table[index.view(-1)].view(*index.shape, -1).permute(2, 0, 1)


@pytest.mark.parametrize("kind", ["SwinTransformer", "SwinTransformerV2"])
@pytest.mark.parametrize(
    ("size", "pads"),  # windows fit; stages are padded; the last stage is one window, not shifted
    [((32, 48), True), ((36, 28), True), ((32, 32), False)],
)
def test_swin_maps_equal_the_full_attention_of_shifted_windows(kind, size, pads):
    arch = dict(SWIN["arch"], extra_norm_every_n_blocks=0)
    model = student(
        dict(
            type=kind,
            arch=SWIN["arch"] if kind == "SwinTransformer" else arch,
            img_size=size,
            window_size=4,
            pad_small_map=pads,
            out_indices=(1,),
        )
    )
    shifted = [block.attn for stage in model.stages for block in stage.blocks]
    images = torch.randn(1, 3, *size, dtype=torch.float64)
    inputs, maps = seen_by(shifted, model, images)
    assert [attn.shift_size for attn in shifted] == [0, 2, 0, 2]
    for attn, tokens, got in zip(shifted, inputs, maps):
        inner, heads = attn.w_msa, attn.w_msa.num_heads
        if kind == "SwinTransformer":
            index = inner.relative_position_index.view(-1)
            bias = inner.relative_position_bias_table[index].view(16, 16, heads)
        else:
            table = inner.cpb_mlp(inner.relative_coords_table).view(-1, heads)
            index = inner.relative_position_index.view(-1)
            bias = 16 * table[index].view(16, 16, heads).sigmoid()

        def project(token, inner=inner, heads=heads):
            if kind == "SwinTransformer":
                query, key, _ = inner.qkv(token).unflatten(-1, (3, heads, -1)).unbind(0)
                return query.detach() * inner.scale, key.detach()
            weight_q, weight_k, _ = inner.qkv.weight.chunk(3)
            query = F.linear(token, weight_q, inner.q_bias).unflatten(-1, (heads, -1))
            key = F.linear(token, weight_k).unflatten(-1, (heads, -1))
            scale = inner.logit_scale.clamp(max=4.6051701859880914).exp()[:, 0]
            query = F.normalize(query, dim=-1) * scale
            return query.detach(), F.normalize(key, dim=-1).detach()

        wanted = swin_received(
            tokens[0].view(*got.shape[-2:], -1),
            project,
            bias.permute(2, 0, 1).detach(),
            (4, 4),
            (attn.shift_size,) * 2 if pads or got.shape[-1] > 4 else (0, 0),
            pads_first=True,
            heads=heads,
        )
        torch.testing.assert_close(got[0], wanted)


def test_windows_that_the_images_do_not_fit_are_named_by_mmpretrain():
    swin = dict(SWIN, type="SwinTransformer", img_size=24, window_size=4, out_indices=(1,))
    words = r"input shape \(3, 3\) is smaller than the window size \(4\).*`pad_small_map=True`"
    with pytest.raises(AssertionError, match=words):
        seen_by([], student(swin), torch.randn(1, 3, 24, 24, dtype=torch.float64))


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


def test_pooled_backbone_gives_what_the_timm_model_gives_its_classifier():
    for name in ("pit_ti_224", "swin_tiny_patch4_window7_224"):
        torch.manual_seed(0)
        model = timm.create_model(name, num_classes=0).eval()
        backbone = TIMMPooledBackbone(name)
        backbone.eval()
        backbone.timm_model.load_state_dict(model.state_dict())
        images = torch.randn(1, 3, 224, 224)
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


def test_plain_students_of_these_families_have_the_same_keys():
    assert list(build(PLAIN).state_dict()) == [
        key for key in build(AAL).state_dict() if not key.startswith("link_head.")
    ]
