"""Each timm family's maps against the full attention matrix, in float64."""

import pytest
import timm
import torch
import torch.nn.functional as F
from torch import nn

from aal_plugin.core import AttentionRecorder

from .attention_loops import class_row, full_attention, received, swin_received


def student(name, **kwargs):
    torch.manual_seed(0)
    model = timm.create_model(name, num_classes=5, **kwargs).double().eval()
    for parameter in model.parameters():  # away from zero biases and equal scales
        if parameter.dim() == 1 or parameter.shape[-1] <= 4:
            nn.init.normal_(parameter, std=0.5)
    return model


def seen_by(modules, model, images, recorder):
    """The inputs of modules, and the maps, in one forward pass."""
    inputs = []
    for module in modules:
        module.register_forward_pre_hook(lambda m, args: inputs.append(args[0].detach()))
    recorder.start(images.shape[-2:])
    with torch.no_grad():
        model(images)
        return inputs, recorder.stop()


def heads_of(tokens, weight, bias, num_heads):
    return F.linear(tokens, weight, bias).unflatten(-1, (num_heads, -1))


def test_pit_maps_equal_the_full_attention_of_each_block():
    for name, prefix in (("pit_ti_224", 1), ("pit_ti_distilled_224", 2)):
        model = student(
            name, img_size=(32, 48), base_dims=(8, 8, 8), depth=(1, 2, 1), heads=(1, 2, 4)
        )
        recorder = AttentionRecorder(model)
        attentions = [b.attn for stage in model.transformers for b in stage.blocks]
        images = torch.randn(2, 3, 32, 48, dtype=torch.float64)
        inputs, maps = seen_by(attentions, model, images, recorder)
        assert recorder.heads == [1, 2, 2, 4]
        assert [tuple(m.shape[-2:]) for m in maps] == [(3, 5), (2, 3), (2, 3), (1, 2)]
        for attn, tokens, got in zip(attentions, inputs, maps):
            query, key, _ = attn.qkv(tokens).unflatten(-1, (3, attn.num_heads, -1)).unbind(2)
            for image in range(2):
                weights = full_attention(query[image], key[image], attn.scale)
                wanted = class_row(weights, prefix, got.shape[-2:])
                torch.testing.assert_close(got[image], wanted)


@pytest.mark.parametrize("kwargs", [dict(), dict(reg_tokens=2, qk_norm=True)])
def test_vit_without_class_token_gives_the_attention_that_patches_receive(kwargs):
    model = student(
        "vit_tiny_patch16_224",
        img_size=(24, 16),
        patch_size=8,
        embed_dim=16,
        depth=2,
        num_heads=2,
        class_token=False,
        global_pool="avg",
        **kwargs,
    )
    recorder = AttentionRecorder(model)
    attentions = [block.attn for block in model.blocks]
    inputs, maps = seen_by(attentions, model, torch.randn(2, 3, 24, 16).double(), recorder)
    for attn, tokens, got in zip(attentions, inputs, maps):
        query, key, _ = attn.qkv(tokens).unflatten(-1, (3, 2, -1)).unbind(2)
        query, key = attn.q_norm(query), attn.k_norm(key)
        for image in range(2):
            weights = full_attention(query[image], key[image], attn.scale)
            wanted = received(weights, kwargs.get("reg_tokens", 0), (3, 2))
            torch.testing.assert_close(got[image], wanted)


@pytest.mark.parametrize("name", ["beit_base_patch16_224", "beitv2_base_patch16_224"])
def test_beit_maps_equal_the_full_attention_with_its_position_bias(name):
    model = student(name, img_size=(32, 48), embed_dim=16, depth=2, num_heads=2)
    recorder = AttentionRecorder(model)
    attentions = [block.attn for block in model.blocks]
    inputs, maps = seen_by(attentions, model, torch.randn(2, 3, 32, 48).double(), recorder)
    for attn, tokens, got in zip(attentions, inputs, maps):
        weight_q, weight_k, _ = attn.qkv.weight.chunk(3)
        query = heads_of(tokens, weight_q, attn.q_bias, 2)
        key = heads_of(tokens, weight_k, None, 2)
        bias = attn._get_rel_pos_bias()[0].detach()
        for image in range(2):
            weights = full_attention(query[image], key[image], attn.scale, bias)
            torch.testing.assert_close(got[image], class_row(weights, 1, (2, 3)))


SWIN = dict(embed_dim=8, depths=(2, 2), num_heads=(1, 2), drop_path_rate=0.0)


@pytest.mark.parametrize(
    ("size", "window"),
    [((32, 48), 4), ((36, 28), 4), ((24, 40), (2, 4))],  # fits, is padded, is not square
)
def test_swin_maps_equal_the_full_attention_of_shifted_windows(size, window):
    model = student("swin_tiny_patch4_window7_224", img_size=size, window_size=window, **SWIN)
    blocks = [block for stage in model.layers for block in stage.blocks]
    recorder = AttentionRecorder(model)
    images = torch.randn(1, 3, *size, dtype=torch.float64)
    inputs, maps = seen_by([b.norm1 for b in blocks], model, images, recorder)
    assert any(any(block.shift_size) for block in blocks)
    for block, tokens, got in zip(blocks, inputs, maps):
        attn, scale = block.attn, block.attn.scale

        def project(token, attn=attn, scale=scale):
            q, k, _ = attn.qkv(token).unflatten(-1, (3, attn.num_heads, -1)).unbind(0)
            return q.detach() * scale, k.detach()

        wanted = swin_received(
            block.norm1(tokens)[0].detach(),
            project,
            attn._get_rel_pos_bias()[0].detach(),
            block.window_size,
            block.shift_size,
            pads_first=False,
            heads=attn.num_heads,
        )
        torch.testing.assert_close(got[0], wanted)


@pytest.mark.skipif(
    timm.__version__ == "1.0.27", reason="its Swin v2 takes no map that needs padding"
)
def test_swin_v2_maps_equal_the_full_cosine_attention():
    model = student("swinv2_tiny_window8_256", img_size=(36, 24), window_size=4, **SWIN)
    blocks = [block for stage in model.layers for block in stage.blocks]
    recorder = AttentionRecorder(model)
    images = torch.randn(1, 3, 36, 24, dtype=torch.float64)
    inputs, maps = seen_by(blocks, model, images, recorder)
    assert any(any(block.shift_size) for block in blocks)
    for block, tokens, got in zip(blocks, inputs, maps):
        attn = block.attn
        size = block.window_size[0] * block.window_size[1]
        table = attn.cpb_mlp(attn.relative_coords_table).view(-1, attn.num_heads)
        bias = 16 * table[attn.relative_position_index.view(-1)].view(size, size, -1).sigmoid()
        weight_q, weight_k, _ = attn.qkv.weight.chunk(3)
        scale = attn.logit_scale.clamp(max=4.6051701859880914).exp()[:, 0]

        def project(token, q=weight_q, k=weight_k, attn=attn, scale=scale):
            query = F.normalize(heads_of(token, q, attn.q_bias, attn.num_heads), dim=-1)
            key = F.normalize(heads_of(token, k, None, attn.num_heads), dim=-1)
            return (query * scale).detach(), key.detach()

        wanted = swin_received(
            tokens[0],
            project,
            bias.permute(2, 0, 1).detach(),
            block.window_size,
            block.shift_size,
            pads_first=False,
            heads=attn.num_heads,
        )
        torch.testing.assert_close(got[0], wanted)


def test_convit_maps_are_gated_attention_received_then_class_attention():
    model = student(
        "convit_tiny", img_size=32, patch_size=8, embed_dim=8, depth=3, num_heads=4,
        local_up_to_layer=2,
    )  # fmt: skip
    recorder = AttentionRecorder(model)
    attentions = [block.attn for block in model.blocks]
    inputs, maps = seen_by(attentions, model, torch.randn(1, 3, 32, 32).double(), recorder)
    for attn, tokens, got in zip(attentions[:2], inputs, maps):
        query, key = attn.qk(tokens).unflatten(-1, (2, 4, -1)).unbind(2)
        content = full_attention(query[0], key[0], attn.scale)
        position = attn.pos_proj(attn.get_rel_indices(16))[0].permute(2, 0, 1).softmax(-1)
        gate = attn.gating_param.sigmoid().view(-1, 1, 1)
        weights = (1 - gate) * content + gate * position
        weights = weights / weights.sum(-1, keepdim=True)
        torch.testing.assert_close(got[0], received(weights, 0, (4, 4)))
    query, key, _ = attentions[2].qkv(inputs[2]).unflatten(-1, (3, 4, -1)).unbind(2)
    weights = full_attention(query[0], key[0], attentions[2].scale)
    torch.testing.assert_close(maps[2][0], class_row(weights, 1, (4, 4)))


@pytest.mark.parametrize(
    ("name", "kwargs"),
    [
        ("pit_ti_224", dict(img_size=64, base_dims=(8, 8, 8), depth=(1, 1, 1))),
        ("swin_tiny_patch4_window7_224", dict(img_size=32, window_size=4, **SWIN)),
        ("swinv2_tiny_window8_256", dict(img_size=32, window_size=4, **SWIN)),
        ("beit_base_patch16_224", dict(img_size=32, embed_dim=16, depth=2, num_heads=2)),
        ("convit_tiny", dict(img_size=32, embed_dim=8, depth=12)),
    ],
)
def test_output_is_untouched_and_gradients_reach_every_block(name, kwargs):
    model = student(name, **kwargs).train()
    images = torch.randn(2, 3, kwargs["img_size"], kwargs["img_size"], dtype=torch.float64)
    before = model(images)
    recorder = AttentionRecorder(model)
    recorder.start(images.shape[-2:])
    assert torch.equal(model(images), before)
    for number, block in enumerate(recorder.stop()):
        (gradient,) = torch.autograd.grad(
            block.square().sum(), next(model.patch_embed.parameters()), retain_graph=True
        )
        assert gradient.abs().sum() > 0, number


@pytest.mark.parametrize(
    ("name", "maps"),
    [
        ("deit_small_patch16_224", 72),
        ("deit_base_patch16_224", 144),
        ("pit_s_224", 90),
        ("swin_tiny_patch4_window7_224", 138),
    ],
)
def test_number_of_maps_is_that_of_the_papers_link_counts(name, maps):
    heads = AttentionRecorder(timm.create_model(name)).heads
    assert sum(heads) == maps


@pytest.mark.parametrize(
    "name", ["deit_tiny_patch16_224", "beit_base_patch16_224", "hiera_tiny_224", "levit_128s"]
)
def test_attention_that_is_computed_otherwise_is_not_taken_for_the_familys(name):
    model = timm.create_model(name)
    attn = next(m for n, m in model.named_modules() if n.endswith(".attn"))

    class Cosine(type(attn)):
        def forward(self, x, **kwargs):
            return super().forward(F.normalize(x, dim=-1), **kwargs)

    AttentionRecorder(model)
    attn.__class__ = Cosine
    with pytest.raises(ValueError, match="AAL does not know how to read its attention"):
        AttentionRecorder(model)
