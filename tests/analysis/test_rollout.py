import pytest
import timm
import torch
from torch import nn

from aal_plugin.analysis.rollout import AttentionRollout
from tests.mm.small import PLAIN, batch, build

DISTILLED = dict(PLAIN["backbone"], type="DistilledVisionTransformer")


def slow_rollout(matrices):
    """Products of (A + I) / 2 over the blocks, in float64; matrices (M, T, T) each."""
    rolled = torch.eye(matrices[0].shape[-1], dtype=torch.float64)
    for heads in matrices:
        mean = sum(heads.double()) / len(heads)
        rolled = ((mean + torch.eye(len(mean), dtype=torch.float64)) / 2) @ rolled
    return rolled


@pytest.mark.parametrize("backbone", [PLAIN["backbone"], DISTILLED])
def test_rollout_equals_a_slow_product_on_a_non_square_image(backbone):
    head = dict(type="DeiTClsHead", num_classes=10, in_channels=16)
    model = build(PLAIN, backbone=backbone, **({"head": head} if backbone is DISTILLED else {}))
    student, matrices = model.eval().backbone, []
    for layer in student.layers:
        layer.attn.qkv.register_forward_hook(lambda m, i, out: matrices.append(out))
    rollout = AttentionRollout(student)
    images, _ = batch(2, (16, 40))
    with torch.no_grad():
        rollout.start()
        student(images)
        got = rollout.stop((2, 5))
    for image in range(2):
        attention = []
        for qkv in matrices:
            query, key, _ = qkv[image].view(-1, 3, 2, 8).permute(1, 2, 0, 3)
            attention.append((query @ key.transpose(-2, -1) * 8**-0.5).softmax(-1))
        expected = slow_rollout(attention)[0, student.num_extra_tokens :].view(2, 5)
        torch.testing.assert_close(got[image].double(), expected, rtol=1e-4, atol=1e-6)


def test_timm_students_with_normalised_queries_roll_out():
    student = timm.create_model(
        "vit_tiny_patch16_224", img_size=32, depth=2, qk_norm=True, num_classes=0
    ).eval()
    nn.init.normal_(student.blocks[0].attn.q_norm.weight)
    seen = []
    for block in student.blocks:
        block.attn.fused_attn = False
        block.attn.attn_drop.register_forward_hook(lambda m, inputs, out: seen.append(inputs[0]))
    rollout = AttentionRollout(student)
    with torch.no_grad():
        rollout.start()
        student(torch.randn(1, 3, 32, 32))
        got = rollout.stop((2, 2))
    expected = slow_rollout([weights[0] for weights in seen])[0, 1:].view(2, 2)
    torch.testing.assert_close(got[0].double(), expected, rtol=1e-4, atol=1e-6)


def test_students_of_several_resolutions_are_told():
    student = timm.create_model("pit_ti_224", img_size=64, depth=(1, 1, 1), num_classes=0).eval()
    rollout = AttentionRollout(student)
    rollout.start()
    student(torch.randn(1, 3, 64, 64))
    with pytest.raises(ValueError, match=r"blocks have \[.*\] tokens; expected one number"):
        rollout.stop((2, 2))


def test_students_without_a_class_token_are_told():
    with pytest.raises(ValueError, match="rollout: Sequential has no class token"):
        AttentionRollout(nn.Sequential(nn.Linear(2, 2)))
