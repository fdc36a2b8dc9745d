"""What works with every timm from 0.9.16 on: its models of then, as teacher and student."""

import copy

import pytest
import timm
import torch

from aal_plugin.core import LinkedStudent, TimmTeacher

TEACHER = dict(model_name="resnet10t", allow_random_weights=True)
SMALL = dict(img_size=32, patch_size=8, embed_dim=16, depth=2, num_heads=2, num_classes=5)


@pytest.mark.parametrize("name", ["vit_tiny_patch16_224", "deit_tiny_distilled_patch16_224"])
def test_a_step_moves_student_and_links(name):
    teacher = TimmTeacher(**TEACHER)
    linked = LinkedStudent(timm.create_model(name, **SMALL), teacher.channels)
    before = copy.deepcopy(linked.state_dict())
    images = torch.randn(2, 3, 32, 32)
    _, distance = linked(images, teacher(images)[0])
    distance.backward()
    torch.optim.SGD(linked.parameters(), lr=1e3).step()
    changed = {key for key, value in linked.state_dict().items() if not value.equal(before[key])}
    assert "student.blocks.1.attn.qkv.weight" in changed
    assert {key for key in before if key.startswith("links") and "weight" in key} <= changed


def test_mmpretrain_trains_and_resumes_with_a_teacher_from_a_file(tmp_path):
    pytest.importorskip("mmpretrain")
    from mmengine.runner import Runner

    from aal_plugin.mm.runs.protection import protected
    from tests.mm.small import AAL, training

    model = timm.create_model("resnet10t")
    checkpoint = str(tmp_path / "last.pth.tar")
    torch.save(dict(state_dict=model.state_dict()), checkpoint)
    (tmp_path / "args.yaml").touch()  # timm's, beside the files of its runs
    teacher = dict(type="TimmTeacher", model_name="resnet10t", checkpoint=checkpoint)
    for epochs in (1, 2):
        config = training(tmp_path / "run", dict(AAL, teacher=teacher), epochs, resume=True)
        Runner.from_cfg(protected(config)).train()
    assert (tmp_path / "run" / "epoch_2.pth").is_file()
