"""MimeticViT's first weights against the paper's formulas, multiplied out with NumPy."""

import numpy as np
import torch
from mmpretrain.models.utils import build_2d_sincos_position_embedding
from mmpretrain.registry import MODELS

from aal_plugin.core import AttentionRecorder

ARCH = dict(embed_dims=192, num_layers=2, num_heads=3, feedforward_channels=192)


def student(**settings):
    torch.manual_seed(0)
    built = MODELS.build(dict(type="MimeticViT", arch=ARCH, img_size=32, patch_size=8, **settings))
    built.init_weights()
    return built


def test_value_and_output_multiply_to_noise_minus_identity():
    for layer in student().layers:
        value = layer.attn.qkv.weight[2 * 192 :].detach().double().numpy().T
        output = layer.attn.proj.weight.detach().double().numpy().T
        product = value @ output
        noise = product + 0.4 * np.eye(192)
        assert abs(noise.mean()) < 0.001
        assert abs(noise.std() - 0.4 / 192**0.5) < 0.001
        assert abs(np.trace(product) / 192 + 0.4) < 0.01
        # Both factors share the size of the product.
        assert np.allclose(value.T @ value, output @ output.T, atol=1e-5)


def test_each_head_has_the_best_low_rank_part_of_noise_plus_identity():
    noise = np.random.default_rng(1).normal(size=(192, 192)) / 192**0.5
    left, sizes, right = np.linalg.svd(0.7 * noise + 0.7 * np.eye(192))
    expected = sizes[:64]
    trace = np.trace(left[:, :64] * expected @ right[:64])
    for layer in student().layers:
        weight = layer.attn.qkv.weight.detach().double().numpy()
        for head in range(3):
            rows = slice(head * 64, head * 64 + 64)
            query, key = weight[:192][rows].T, weight[192:384][rows].T
            sizes = np.linalg.svd(query @ key.T, compute_uv=False)
            assert (sizes[64:] < 1e-6).all()
            assert np.allclose(sizes[:64], expected, rtol=0.1)
            assert abs(np.trace(query @ key.T) / trace - 1) < 0.15
    first, second = (layer.attn.qkv.weight for layer in student().layers)
    assert not torch.allclose(first, second)
    assert not torch.allclose(first[:64], first[64:128])


def test_positions_are_sinusoidal_and_the_rest_is_mmpretrains():
    ours = student()
    table = build_2d_sincos_position_embedding((4, 4), 192, cls_token=True)
    assert torch.equal(ours.pos_embed, table)
    torch.manual_seed(0)
    plain = MODELS.build(dict(type="VisionTransformer", arch=ARCH, img_size=32, patch_size=8))
    plain.init_weights()
    assert ours.state_dict().keys() == plain.state_dict().keys()
    for name, tensor in plain.state_dict().items():
        if "attn" not in name and name != "pos_embed":
            assert torch.equal(ours.state_dict()[name], tensor), name


def test_aal_reads_it_as_any_vit():
    ours = student()
    ours.eval()
    recorder = AttentionRecorder(ours)
    recorder.start((32, 32))
    ours(torch.rand(2, 3, 32, 32))
    assert [tuple(maps.shape) for maps in recorder.stop()] == [(2, 3, 4, 4)] * 2
