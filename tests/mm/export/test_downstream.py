"""Exported students as backbones of MMSegmentation and MMDetection, as docs/backbones.md says."""

import pytest
import torch
from mmengine.config import Config
from mmengine.registry import DefaultScope
from mmengine.runner import Runner

from aal_plugin.mm.export import export_student
from tests.mm.small import AAL, training

DEPTHS = dict(embed_dims=8, depths=[1, 1, 2, 1], num_heads=[1, 1, 2, 2])
# What the student has here, and what it needs there, where images have 64 px.
STUDENTS = {
    "ViT": (
        AAL["backbone"],
        16,
        dict(type="mmpretrain.VisionTransformer", img_size=64, out_type="featmap", out_indices=[2]),
        [16],
    ),
    "Swin": (
        dict(type="SwinTransformer", arch=DEPTHS, img_size=24, window_size=2, pad_small_map=True),
        64,
        dict(type="mmpretrain.SwinTransformer", img_size=64, out_indices=[0, 1, 2, 3]),
        [8, 16, 32, 64],
    ),
}


def exported(folder, name):
    """(config of the backbone there, checkpoint, weights of AAL's training)."""
    backbone, channels, there, widths = STUDENTS[name]
    head = dict(type="LinearClsHead", num_classes=10, in_channels=channels)
    model = dict(AAL, backbone=backbone, head=head)
    if name == "Swin":
        model["neck"] = dict(type="GlobalAveragePooling")
    config = training(folder / "work", model=model, epochs=1, images=20)
    Runner.from_cfg(Config(config.to_dict())).train()
    checkpoint, out = folder / "work" / "epoch_1.pth", folder / "student.pth"
    export_student(config, str(checkpoint), str(out))
    start = dict(type="Pretrained", checkpoint=str(out), prefix="backbone.")
    trained = torch.load(checkpoint, weights_only=False)["state_dict"]
    return dict(backbone, **there, init_cfg=start), widths, trained


def check_weights(backbone, trained):
    """All weights are those of the training, but for what has another size or is new."""
    own, same = backbone.state_dict(), 0
    for key, value in own.items():
        here = trained.get(f"backbone.{key}")
        if here is not None and here.shape == value.shape:
            torch.testing.assert_close(value, here, rtol=0, atol=0, msg=key)
            same += 1
        else:  # resized, or the norms of stages that a classifier does not return
            assert any(part in key for part in ("pos_embed", "relative_position", "norm")), key
    assert same > 30


def takes_a_step(losses, backbone):
    total = sum(sum(v) if isinstance(v, list) else v for k, v in losses.items() if "loss" in k)
    total.backward()
    assert torch.isfinite(total)
    assert any(p.grad is not None and p.grad.any() for p in backbone.parameters())


@pytest.mark.parametrize("name", STUDENTS)
def test_mmsegmentation_trains_on_it(tmp_path, name):
    pytest.importorskip("mmseg")
    from mmengine.structures import PixelData
    from mmseg.registry import MODELS
    from mmseg.structures import SegDataSample

    backbone, widths, trained = exported(tmp_path, name)
    head = dict(
        type="FCNHead",
        in_channels=widths[-1],
        in_index=len(widths) - 1,
        channels=8,
        num_classes=3,
        norm_cfg=dict(type="BN"),
    )
    pixels = dict(type="SegDataPreProcessor", size=(64, 64))
    with DefaultScope.overwrite_default_scope("mmseg"):
        model = MODELS.build(
            dict(
                type="EncoderDecoder",
                backbone=backbone,
                decode_head=head,
                data_preprocessor=pixels,
                train_cfg={},
                test_cfg=dict(mode="whole"),
            )
        )
        model.init_weights()
        check_weights(model.backbone, trained)
        sample = SegDataSample(gt_sem_seg=PixelData(data=torch.randint(0, 3, (1, 64, 64))))
        losses = model(torch.randn(2, 3, 64, 64), [sample, sample.clone()], mode="loss")
        takes_a_step(losses, model.backbone)


@pytest.mark.parametrize("name", STUDENTS)
def test_mmdetection_trains_on_it(tmp_path, name):
    pytest.importorskip("mmdet")
    from mmdet.registry import MODELS
    from mmdet.structures import DetDataSample
    from mmengine.structures import InstanceData

    backbone, widths, trained = exported(tmp_path, name)
    strides = [8 * 2**level for level in range(2)]
    model = dict(
        type="RetinaNet",
        backbone=backbone,
        neck=dict(type="FPN", in_channels=widths, out_channels=8, num_outs=2)
        if len(widths) < 3
        else dict(
            type="FPN", in_channels=widths, out_channels=8, start_level=1, end_level=2, num_outs=2
        ),
        bbox_head=dict(
            type="RetinaHead",
            num_classes=3,
            in_channels=8,
            feat_channels=8,
            stacked_convs=1,
            anchor_generator=dict(
                type="AnchorGenerator",
                octave_base_scale=2,
                scales_per_octave=1,
                ratios=[1.0],
                strides=strides,
            ),
        ),
        train_cfg=dict(
            assigner=dict(type="MaxIoUAssigner", pos_iou_thr=0.5, neg_iou_thr=0.4, min_pos_iou=0),
            sampler=dict(type="PseudoSampler"),
            allowed_border=-1,
            pos_weight=-1,
        ),
    )
    with DefaultScope.overwrite_default_scope("mmdet"):
        model = MODELS.build(model)
        model.init_weights()
        check_weights(model.backbone, trained)
        boxes = torch.tensor([[8.0, 8.0, 40.0, 40.0]])
        sample = DetDataSample(metainfo=dict(img_shape=(64, 64), pad_shape=(64, 64)))
        sample.gt_instances = InstanceData(bboxes=boxes, labels=torch.tensor([1]))
        losses = model(torch.randn(2, 3, 64, 64), [sample, sample.clone()], mode="loss")
        takes_a_step(losses, model.backbone)
