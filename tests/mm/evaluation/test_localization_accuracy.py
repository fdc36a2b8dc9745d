"""The metric and the hook that hands it attention, in MMEngine's test loop."""

import copy

import numpy as np
import pytest
import torch
from mmengine.evaluator import Evaluator
from mmengine.runner import Runner
from mmpretrain.registry import METRICS
from mmpretrain.structures import DataSample

from aal_plugin.analysis.localization import best_iou, threshold_boxes
from tests.mm.small import AAL, PLAIN, training

BOXES = [dict(type="PackInputs", algorithm_keys=["gt_bboxes"])]


def measuring(work_dir, model=AAL, metrics=(dict(type="LocalizationAccuracy"),), hook=()):
    config = training(work_dir, model)
    config.test_dataloader = copy.deepcopy(config.val_dataloader)
    config.test_dataloader.batch_size = 8
    config.test_dataloader.dataset.pipeline = BOXES
    config.test_evaluator = [dict(type="Accuracy", topk=(1,)), *metrics]
    config.test_cfg = dict()
    config.default_hooks.attention = dict(type="AttentionInPrediction", **dict(hook))
    config.custom_hooks = []
    return config


def sample(attention, box, label=1, predicted=1, size=(4, 4)):
    made = DataSample().set_gt_label(label).set_pred_label(predicted)
    made.set_field([attention], "attention")
    made.set_field(size, "attention_size", field_type="metainfo")
    made.set_field(np.array([box], np.float32), "gt_bboxes")
    return made


def test_hand_made_maps_give_hand_computed_figures():
    right = torch.zeros(2, 4, 4)
    right[:, :2, :2] = 1.0
    samples = [
        sample(right, [0, 0, 2, 2]),  # box and class right
        sample(right, [0, 0, 2, 2], predicted=3),  # box right, class wrong
        sample(right, [0, 0, 3, 2]),  # IoU 4 / 6
        sample(right, [2, 2, 4, 4]),  # nothing shared; the whole image has IoU 4 / 16
    ]
    evaluator = Evaluator(METRICS.build(dict(type="LocalizationAccuracy", thresholds=[0.0, 0.5])))
    evaluator.process(samples)
    results = evaluator.evaluate(4)
    assert results == {
        "localization/maxboxacc_30": 75.0,
        "localization/maxboxacc_50": 75.0,
        "localization/maxboxacc_70": 50.0,
        "localization/maxboxacc": pytest.approx(200 / 3),
        "localization/gt_known": 75.0,
        "localization/top1": 50.0,
        "localization/threshold": 0.5,
    }


@pytest.mark.parametrize("model", [AAL, PLAIN])
def test_test_loop_measures_the_students_own_attention(tmp_path, model):
    metrics = [
        dict(type="LocalizationAccuracy", thresholds=10),
        dict(type="LocalizationAccuracy", thresholds=10, block=1, head=2, prefix="head"),
        dict(type="LocalizationAccuracy", thresholds=10, rollout=True, prefix="rollout"),
    ]
    runner = Runner.from_cfg(measuring(tmp_path, model, metrics, dict(rollout=True)))
    results = runner.test()

    # Once more by hand: the attention of the last block from its own qkv.
    student = runner.model.eval()
    seen = []
    student.backbone.layers[-1].attn.qkv.register_forward_hook(lambda m, i, out: seen.append(out))
    ious = []
    for index in range(20):
        packed = runner.test_dataloader.dataset[index]
        batch = dict(inputs=[packed["inputs"]], data_samples=[packed["data_samples"]])
        with torch.no_grad():
            student.test_step(batch)
        query, key, _ = seen.pop()[0].view(-1, 3, 2, 8).permute(1, 2, 0, 3)
        scores = query[:, :1] @ key[:, 1:].transpose(-2, -1) * 8**-0.5
        attention = scores.softmax(-1).mean(0).view(3, 3)
        boxes = threshold_boxes(attention, (24, 24), np.arange(10) / 10)
        ious.append(best_iou(boxes, np.asarray(packed["data_samples"].gt_bboxes, float)))
    for level in (0.3, 0.5, 0.7):
        expected = (np.array(ious) >= level).mean(axis=0).max() * 100
        assert results[f"localization/maxboxacc_{level * 100:.0f}"] == pytest.approx(expected)
    assert results["localization/gt_known"] == results["localization/maxboxacc_50"]
    assert {"head/gt_known", "rollout/gt_known"} <= set(results)


@pytest.mark.parametrize("model", [AAL, PLAIN])
def test_predictions_are_the_same_with_and_without_the_hook(tmp_path, model):
    seen = {}

    class Keep:
        def process(self, data_batch, data_samples):
            seen.setdefault(self.name, []).extend(s["pred_score"] for s in data_samples)

    for name in ("with", "without"):
        config = measuring(tmp_path / name, model, metrics=())
        if name == "without":
            del config.default_hooks.attention
        runner = Runner.from_cfg(config)
        keep = Keep()
        keep.name = name
        runner.test_loop.evaluator.metrics[0].process = keep.process
        runner.test_loop.evaluator.metrics[0].evaluate = lambda size: {}
        runner.test()
        hooks = len(runner.model._forward_hooks) + len(runner.model._forward_pre_hooks)
        assert hooks == 0  # taken away after the test
    assert torch.equal(torch.stack(seen["with"]), torch.stack(seen["without"]))


def test_validation_during_training_measures_it_too(tmp_path):
    config = measuring(tmp_path, AAL)
    config.val_dataloader.dataset.pipeline = BOXES
    config.val_evaluator = config.test_evaluator
    config.default_hooks.checkpoint = dict(
        type="CheckpointHook", save_best="localization/gt_known", rule="greater"
    )
    runner = Runner.from_cfg(config)
    runner.train()
    assert list(tmp_path.glob("best_localization_gt_known_epoch_*.pth"))


def metric(**settings):
    return [dict(type="LocalizationAccuracy", **settings)]


@pytest.mark.parametrize(
    ("metrics", "words"),
    [
        (metric(rollout=True), "samples have no attention_rollout; set rollout=True in the hook"),
        (metric(block=4), "LocalizationAccuracy.block=4; choose 1 to 3"),
        (
            metric(rollout=True, block=1),
            "rollout=True uses all blocks and heads; remove block=1 and head=None",
        ),
        (
            metric(thresholds=0),
            r"LocalizationAccuracy.thresholds=0; choose a number of thresholds, 1 or more",
        ),
        (
            metric(thresholds=[2.0]),
            r"LocalizationAccuracy.thresholds=\[2.0\]; choose a number of thresholds",
        ),
        (metric(iou=[0.5, 50]), r"LocalizationAccuracy.iou=\[0.5, 50\]; choose values in \(0, 1\]"),
    ],
)
def test_settings_that_do_not_fit_are_named(tmp_path, metrics, words):
    with pytest.raises(ValueError, match=words):
        Runner.from_cfg(measuring(tmp_path, PLAIN, metrics)).test()


def test_hook_that_is_missing_is_named(tmp_path):
    config = measuring(tmp_path, PLAIN)
    del config.default_hooks.attention
    with pytest.raises(ValueError, match="no attention; add default_hooks=.*AttentionInPrediction"):
        Runner.from_cfg(config).test()


@pytest.mark.parametrize(
    ("pipeline", "words"),
    [
        ([dict(type="PackInputs")], r"no gt_bboxes; end the pipeline with dict\(type='PackInputs'"),
        (
            [dict(type="ResizeEdge", scale=24), *BOXES],
            "pipeline: ResizeEdge moves the image but not gt_bboxes; use Resize",
        ),
    ],
)
def test_pipeline_that_loses_the_boxes_is_told(tmp_path, pipeline, words):
    config = measuring(tmp_path, PLAIN)
    config.test_dataloader.dataset.pipeline = pipeline
    with pytest.raises(ValueError, match=words):
        Runner.from_cfg(config).test()


def test_student_without_attention_is_told(tmp_path):
    resnet = dict(
        PLAIN,
        backbone=dict(type="ResNet", depth=18),
        neck=dict(type="GlobalAveragePooling"),
        head=dict(type="LinearClsHead", num_classes=10, in_channels=512),
    )
    with pytest.raises(ValueError, match="ResNet: AAL does not know how"):
        Runner.from_cfg(measuring(tmp_path, resnet)).test()


SWIN = dict(
    PLAIN,
    backbone=dict(
        type="SwinTransformer",
        arch=dict(embed_dims=16, depths=[1, 1], num_heads=[1, 2]),
        img_size=24,
        patch_size=4,
        window_size=3,
        out_indices=(1,),
    ),
    neck=dict(type="GlobalAveragePooling"),
    head=dict(type="LinearClsHead", num_classes=10, in_channels=32),
)


def test_hierarchical_students_are_measured_at_each_of_their_grids(tmp_path):
    metrics = [*metric(block=1, prefix="fine"), *metric(head=2)]
    results = Runner.from_cfg(measuring(tmp_path, SWIN, metrics)).test()
    assert {"fine/gt_known", "localization/gt_known"} <= set(results)
    assert all(np.isfinite(list(results.values())))
    with pytest.raises(ValueError, match="rollout: SwinTransformer has no class token"):
        Runner.from_cfg(measuring(tmp_path, SWIN, metrics, dict(rollout=True))).test()


def test_students_of_no_known_family_are_read_by_name(tmp_path):
    hook = dict(
        attention_layers=dict(attention="layers.*.attn", patch_embed="patch_embed.projection")
    )
    named, known = (
        Runner.from_cfg(measuring(tmp_path / name, PLAIN, hook=settings))
        for name, settings in (("named", hook), ("known", {}))
    )
    known.model.load_state_dict(named.model.state_dict())
    assert named.test() == known.test()
