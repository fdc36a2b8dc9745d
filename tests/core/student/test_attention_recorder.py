import copy

import pytest
import timm
import torch

from aal_plugin.core import AttentionRecorder

from .test_maps import slow_class_attention

SMALL = dict(patch_size=8, embed_dim=16, depth=3, num_heads=2, num_classes=5)


def timm_student(name="vit_tiny_patch16_224", size=(24, 16), **kwargs):
    torch.manual_seed(0)
    return timm.create_model(name, img_size=size, **{**SMALL, **kwargs}).double().eval()


def recorded_maps(student, images):
    recorder = AttentionRecorder(student)
    recorder.start(images.shape[-2:])
    student(images)
    return recorder.stop()


@pytest.mark.parametrize(
    ("name", "kwargs", "prefix"),
    [
        ("vit_tiny_patch16_224", {}, 1),
        ("deit_tiny_distilled_patch16_224", {}, 2),
        ("deit3_small_patch16_224", {}, 1),
        ("vit_tiny_patch16_224", dict(reg_tokens=4, qk_norm=True), 5),
    ],
)
def test_timm_maps_equal_the_full_attention_of_each_block(name, kwargs, prefix):
    student = timm_student(name, **kwargs)
    seen = []
    for block in student.blocks:
        block.attn.qkv.register_forward_hook(lambda m, i, out: seen.append(out))
    with torch.no_grad():
        maps = recorded_maps(student, torch.randn(2, 3, 24, 16, dtype=torch.float64))
        norms = (student.blocks[0].attn.q_norm, student.blocks[0].attn.k_norm)
        for got, qkv in zip(maps, seen):
            torch.testing.assert_close(got, slow_class_attention(qkv, 2, prefix, (3, 2), *norms))


def test_recorders_leave_output_and_state_dict_alone():
    student = timm_student()
    images = torch.randn(1, 3, 24, 16, dtype=torch.float64)
    keys, before = list(student.state_dict()), student(images)
    recorder = AttentionRecorder(student)
    recorder.start((24, 16))
    assert torch.equal(student(images), before)
    recorder.stop()
    assert list(student.state_dict()) == keys
    assert torch.equal(student(images), before)


def test_another_image_size_than_that_of_training_works():
    student = timm_student(dynamic_img_size=True)
    maps = recorded_maps(student, torch.randn(1, 3, 32, 40, dtype=torch.float64))
    assert maps[0].shape == (1, 2, 4, 5)


def test_gradients_reach_the_student_also_under_gradient_checkpointing():
    images = torch.randn(2, 3, 24, 16, dtype=torch.float64)
    gradients = []
    for checkpointing in (False, True):
        student = timm_student().train()
        student.set_grad_checkpointing(checkpointing)
        sum(m.square().sum() for m in recorded_maps(student, images)).backward()
        gradients.append(student.blocks[0].attn.qkv.weight.grad)
    assert gradients[0].abs().sum() > 0
    torch.testing.assert_close(*gradients)


def test_attention_without_gradients_is_an_error():
    student = timm_student().train()
    forward = student.blocks[1].forward
    student.blocks[1].forward = lambda x: torch.utils.checkpoint.checkpoint(
        forward, x, use_reentrant=True
    )
    with pytest.raises(
        ValueError, match="block 2 ran without gradients.*use_reentrant=False.*with_cp=False"
    ):
        recorded_maps(student, torch.randn(1, 3, 24, 16, dtype=torch.float64))


def test_a_deep_copy_has_a_recorder_of_its_own():
    student = timm_student()
    student.recorder = AttentionRecorder(student)
    twin = copy.deepcopy(student)
    images = torch.randn(1, 3, 24, 16, dtype=torch.float64)
    student.recorder.start((24, 16))
    twin(images)
    student(images)
    assert len(student.recorder.stop()) == 3
    with pytest.raises(ValueError, match=r"blocks \[1, 2, 3\] did not run between start and stop"):
        twin.recorder.start((24, 16))
        student(images)
        twin.recorder.stop()


def test_a_block_that_did_not_run_is_named():
    student = timm_student()
    recorder = AttentionRecorder(student)
    student.blocks[1].forward = lambda tokens, **_: tokens  # layer drop
    recorder.start((24, 16))
    student(torch.randn(1, 3, 24, 16, dtype=torch.float64))
    with pytest.raises(ValueError, match=r"the student's blocks \[2\] did not run"):
        recorder.stop()


@pytest.mark.parametrize("name", ["resnet18"])
def test_the_error_for_an_unknown_student_lists_the_families(name):
    with pytest.raises(
        ValueError, match="AAL does not know how to read its attention; .*timm Vision"
    ):
        AttentionRecorder(timm.create_model(name))


def test_image_sizes_that_the_patch_does_not_divide_are_named():
    student = timm_student(dynamic_img_size=True)
    recorder = AttentionRecorder(student)
    with pytest.raises(ValueError, match="images of 24×20 pixels: .*patch of 8×8.*24×16"):
        recorder.start((24, 20))


@pytest.mark.skipif(
    torch.__version__.startswith("2.6"), reason="torch 2.6 compiles again for every hook object"
)
def test_blocks_are_compiled_once_and_not_one_by_one():
    student = timm_student(depth=12).float()
    recorder = AttentionRecorder(student)
    images = torch.randn(1, 3, 24, 16)
    torch._dynamo.reset()
    torch._dynamo.utils.counters.clear()
    # Block by block, as a student with a graph break in each is compiled.
    for block in student.blocks:
        block.attn.forward = torch.compile(block.attn.forward, backend="eager")
    recorder.start((24, 16))
    student(images)
    assert len(recorder.stop()) == 12
    assert torch._dynamo.utils.counters["stats"]["unique_graphs"] == 1


def test_students_with_a_stem_of_convolutions_are_read_and_their_stride_is_checked():
    torch.manual_seed(0)
    student = timm.create_model("vit_base_mci_224", num_classes=5, depth=2).eval()
    recorder = AttentionRecorder(student)
    recorder.start((224, 224))
    with torch.no_grad():
        student(torch.randn(1, 3, 224, 224))
    assert [tuple(block.shape) for block in recorder.stop()] == [(1, 12, 14, 14)] * 2
    with pytest.raises(ValueError, match="images of 224×216 pixels: .*patch of 16×16"):
        recorder.start((224, 216))
