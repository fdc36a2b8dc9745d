"""`tools/train.py CONFIG --dry-run`: what a run would be, and whether it could begin."""

import json
import math
import sys

import pytest
import torch

from aal_plugin.core import link_weight
from aal_plugin.mm.dry_run import dry_run, run_summary
from aal_plugin.mm.dry_run.made_up_data import MadeUpImages
from aal_plugin.mm.runs.protection import checked

from .mm.small import AAL, build, training
from .test_launch import dump, launch


def config(folder, **changes):
    """Four images a step, 40 images, three epochs; weight decay on matrices alone."""
    cfg = training(folder / "work", epochs=3, **changes)
    cfg.train_dataloader.batch_size = 4
    cfg.optim_wrapper = dict(
        optimizer=dict(type="AdamW", lr=1e-3, weight_decay=0.05),
        paramwise_cfg=dict(norm_decay_mult=0.0, bias_decay_mult=0.0),
    )
    cfg.param_scheduler = dict(type="StepLR", step_size=1, gamma=0.1)
    return cfg


def run(path, *options, **kwargs):
    return launch(sys.executable, "tools/train.py", path, "--dry-run", *options, **kwargs)


def line(text, name):
    return next(row for row in text.splitlines() if row.startswith(name)).removeprefix(name).strip()


def test_one_screen_tells_what_the_run_would_be(tmp_path):
    cfg = config(tmp_path)
    text = run(dump(cfg, tmp_path / "small.py"), "--images-per-second", 10)
    model = build(AAL)
    count = sum(p.numel() for p in model.parameters()) / 1e6
    assert line(text, "model").startswith(f"AALClassifier with {count:.2f} M parameters")
    assert line(text, "images") == "3×24×24, 4 a step and rank, ranks: 1"
    # 3 epochs of 40 images at 10 a second are 12 s.
    assert line(text, "steps").startswith("3 epochs of 10, 30 in all; 0.0 hours at 10 images/s")
    assert line(text, "learning rate") == "0.001 at epoch 0, 0.0001 at epoch 1, 1e-05 at epoch 2"
    decayed = sum(p.numel() for p in model.parameters() if p.dim() > 1) / 1e6
    assert line(text, "weight decay").startswith(f"0.05 on {decayed:.2f} M in ")
    weights = [f"{link_weight(e, 2000.0, (0.5, 0.1), (2,)):.4g} at epoch {e}" for e in range(3)]
    assert line(text, "λ") == f"link_head: {', '.join(weights)}"
    assert "loss_link" in line(text, "step 2") and "nan" not in text
    assert line(text, "missing") == "nothing"
    assert not (tmp_path / "work").exists()  # nothing is written


def test_the_folder_of_kept_maps_is_not_claimed_by_made_up_images(tmp_path):
    cfg = config(tmp_path)
    cfg.model.teacher.update(checkpoint="gone.pth", allow_random_weights=False)
    images = cfg.train_dataloader.dataset
    maps = str(tmp_path / "maps")
    cfg.train_dataloader.dataset = dict(
        type="RepeatedViews", dataset=images, views=3, kept_maps=maps
    )
    tried = dry_run(cfg)
    assert len(tried.missing) == 1 and "gone.pth" in tried.missing[0]
    assert not (tmp_path / "maps").exists()


def test_missing_files_are_told_and_the_status_is_that_of_the_run(tmp_path):
    cfg = config(tmp_path)
    cfg.model.teacher.update(checkpoint="gone.pth", allow_random_weights=False)
    cfg.train_dataloader.dataset = dict(
        type="ClassBalancedSubset",
        fraction=0.05,
        dataset=dict(
            type="ImageNet",
            data_root=str(tmp_path / "nowhere"),
            split="train",
            pipeline=[
                dict(type="LoadImageFromFile"),
                dict(type="RandomResizedCrop", scale=24),
                dict(type="PackInputs"),
            ],
        ),
    )
    path = dump(cfg, tmp_path / "small.py")
    text = run(path, ok=False)
    assert "model.teacher.checkpoint 'gone.pth': no such file" in text
    assert "train_dataloader.dataset.dataset (ImageNet" in text and "nowhere" in text
    assert line(text, "steps").startswith("3 epochs of 16015,")  # 5% of 1,281,167, by four
    assert "loss_link" in line(text, "step 2")
    launch(sys.executable, "tools/train.py", path, ok=False)


@pytest.mark.parametrize(
    ("key", "value", "words"),
    [
        ("model.head.num_classes", 9, "has 10 classes, but model.head.num_classes=9"),
        ("model.link_head.links", [(1, 2)], "1 (first, last) pairs"),
        ("model.link_head.loss_weight", 3e38, "is NaN or infinite"),
        ("optim_wrapper.optimizer.lrr", 1.0, "lrr"),
    ],
)
def test_it_ends_where_a_run_would(tmp_path, key, value, words):
    cfg = config(tmp_path)
    checked(cfg)
    cfg.merge_from_dict({key: value})
    with pytest.raises((ValueError, FloatingPointError, TypeError)) as error:
        dry_run(cfg)
    assert words in str(error.value)


def test_ranks_share_the_steps(tmp_path):
    """Two ranks: half the steps, each rank's own."""
    path = dump(config(tmp_path), tmp_path / "small.py")
    text = launch("tools/dist_train.sh", path, 2, "--dry-run", "--images-per-second", 100)
    assert "3 epochs of 5, 15 in all" in text and "ranks: 2" in text


FOLDER = dict(
    type="CustomDataset",
    data_root="no/such",
    pipeline=[
        dict(type="LoadImageFromFile"),
        dict(type="Resize", scale=(24, 24)),
        dict(type="PackInputs"),
    ],
)


@pytest.mark.parametrize(
    ("dataset", "images"),
    [
        (dict(type="ConcatDataset", datasets=[FOLDER, FOLDER]), 2000),
        (dict(type="RepeatDataset", times=3, dataset=FOLDER), 3000),
        (dict(type="KFoldDataset", num_splits=5, dataset=FOLDER), 800),
        (
            dict(
                type="ClassBalancedSubset",
                fraction=0.1,
                dataset=dict(type="ConcatDataset", datasets=[FOLDER]),
            ),
            100,
        ),
    ],
)
def test_wrappers_of_missing_data_have_their_own_length(tmp_path, dataset, images):
    cfg = config(tmp_path)
    cfg.train_dataloader.dataset = dataset
    checked(cfg)
    tried = dry_run(cfg, 1.0)
    assert any(f"3 epochs of {images // 4}," in words for words in tried.lines)
    assert any("expected at" in words for words in tried.missing)


def test_wrappers_of_images_that_are_there(tmp_path):
    cfg = config(tmp_path)
    data = cfg.train_dataloader.dataset
    cfg.train_dataloader.dataset = dict(type="ConcatDataset", datasets=[data, data])
    checked(cfg)
    tried = dry_run(cfg, 1.0)
    assert any("3 epochs of 20," in words for words in tried.lines) and not tried.missing


@pytest.mark.parametrize("there", [True, False])
def test_several_tasks(tmp_path, there):
    """MultiTaskDataset and MultiTaskHead, with the images and without."""
    from PIL import Image

    if there:
        listed = [
            dict(img_path=f"{i}.png", gt_label=dict(colour=i % 3, kind=i % 5)) for i in range(8)
        ]
        for i in range(8):
            Image.new("RGB", (30, 30), (9 * i, 0, 0)).save(tmp_path / f"{i}.png")
        text = json.dumps(dict(metainfo=dict(tasks=["colour", "kind"]), data_list=listed))
        (tmp_path / "labels.json").write_text(text)
    cfg = config(tmp_path)
    heads = {
        name: dict(type="LinearClsHead", num_classes=classes)
        for name, classes in (("colour", 3), ("kind", 5))
    }
    cfg.model.head = dict(type="MultiTaskHead", in_channels=16, task_heads=heads)
    pipeline = [*FOLDER["pipeline"][:2]]
    cfg.train_dataloader.dataset = dict(
        type="MultiTaskDataset",
        data_root=str(tmp_path),
        ann_file="labels.json",
        pipeline=[*pipeline, dict(type="PackMultiTaskInputs", multi_task_fields=("gt_label",))],
    )
    cfg.val_dataloader = cfg.val_cfg = cfg.val_evaluator = None
    checked(cfg)
    tried = dry_run(cfg, 1.0)
    step = next(words for words in tried.lines if words.startswith("step 2"))
    assert "colour_loss" in step and "kind_loss" in step and "loss_link" in step
    assert any(f"3 epochs of {2 if there else 250}," in words for words in tried.lines)
    assert bool(tried.missing) == (not there)


@pytest.mark.parametrize(("epochs", "images", "warmup"), [(3, 80, 1), (40, 20_000, 20)])
def test_the_learning_rates_are_those_of_the_run(tmp_path, epochs, images, warmup):
    """By the formulas of a linear warm-up and a cosine; 40 epochs of 2000 steps are shortened."""
    cfg = config(tmp_path)
    cfg.train_cfg.max_epochs = epochs
    cfg.train_dataloader.update(batch_size=10)
    cfg.train_dataloader.dataset.num_images = images
    cfg.param_scheduler = [
        dict(type="LinearLR", start_factor=0.01, end=warmup, convert_to_iter_based=True),
        dict(
            type="CosineAnnealingLR",
            T_max=epochs - warmup,
            eta_min=1e-5,
            begin=warmup,
            convert_to_iter_based=True,
        ),
    ]
    wanted = []
    length = images // 10
    for epoch in range(epochs):
        share = epoch * length / (warmup * length - 1)
        value = 1e-3 * (0.01 + 0.99 * min(share, 1.0))
        if epoch >= warmup:
            turn = math.cos(math.pi * (epoch - warmup) / (epochs - warmup))
            value = 1e-5 + (1e-3 - 1e-5) * (1 + turn) / 2
        wanted.append(value)
    found = []
    real = run_summary.learning_rates
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(
            run_summary, "learning_rates", lambda *args: found.append(real(*args)) or found[0]
        )
        dry_run(cfg, 1.0)
    assert found[0] == pytest.approx(wanted, rel=2e-4)


def test_a_scheduler_by_iterations_is_stepped_through_the_whole_run(tmp_path):
    cfg = config(tmp_path)
    cfg.param_scheduler = dict(type="MultiStepLR", milestones=[11, 20], by_epoch=False, gamma=0.1)
    tried = dry_run(cfg, 1.0)  # ten steps an epoch
    assert any("0.001 at epoch 0, 0.001 at epoch 1, 1e-05 at" in words for words in tried.lines)


def test_made_up_images_go_through_the_pipeline_and_are_the_same_each_time():
    from mmengine.registry import init_default_scope

    init_default_scope("mmpretrain")
    steps = [dict(type="LoadImageFromFile"), dict(type="Resize", scale=(30, 20))]
    images = MadeUpImages(5, [*steps, dict(type="PackInputs")], classes=3, size=(375, 500))
    one, again = images[4], images[4]
    assert len(images) == 5 and one["inputs"].shape == (3, 20, 30)
    assert torch.equal(one["inputs"], again["inputs"]) and int(one["data_samples"].gt_label) == 1
    small = MadeUpImages(5, [dict(type="PackInputs")], classes=3, size=(32, 32))
    assert small[0]["inputs"].shape == (3, 32, 32)


def test_the_real_length_is_taken_where_the_data_are_there(tmp_path):
    cfg = config(tmp_path)
    cfg.train_dataloader.dataset.num_images = 24
    tried = dry_run(cfg, 1.0)
    assert any("3 epochs of 6, 18 in all" in words for words in tried.lines)
    assert not tried.missing


def test_help_shows_both_sets_of_options():
    text = launch(sys.executable, "tools/train.py", "--help")
    assert "--dry-run" in text and "--cfg-options" in text


def test_boxes_are_made_up_too_and_crops_to_them_are_not_empty():
    from mmengine.registry import init_default_scope

    init_default_scope("mmpretrain")
    steps = [dict(type="CropToBox"), dict(type="PackInputs")]
    image = MadeUpImages(1, steps, classes=2, size=(40, 60))[0]["inputs"]
    assert image.shape == (3, 20, 30)  # the middle half of both sides


def test_a_length_that_is_not_known_is_said_to_be_assumed(tmp_path):
    cfg = config(tmp_path)
    steps = [dict(type="LoadImageFromFile"), dict(type="Resize", scale=24), dict(type="PackInputs")]
    steps[1]["scale"] = (24, 24)
    cfg.train_dataloader.dataset = dict(
        type="ClassBalancedSubset",
        fraction=0.5,
        dataset=dict(type="CustomDataset", data_root=str(tmp_path / "no"), pipeline=steps),
    )
    tried = dry_run(cfg, 1.0)
    assert any("1000 images are assumed" in words for words in tried.missing)
    assert any("3 epochs of 125, 375 in all" in words for words in tried.lines)  # half of 1000 by 4
    assert any("0.4 hours at 1 images/s (given)" in words for words in tried.lines)  # 1500 s
