"""`tools/train.py CONFIG --dry-run`: what a run would be, and whether it could begin."""

import math

import pytest
import torch

from aal_plugin.core import link_weight
from aal_plugin.mm.dry_run import dry_run, run_summary
from aal_plugin.mm.dry_run.made_up_data import MadeUpImages
from aal_plugin.mm.runs.protection import checked

from .mm.small import AAL, build, training
from .test_launch import dump, launch

FOLDER = dict(
    type="CustomDataset",
    data_root="no/such",
    pipeline=[
        dict(type="LoadImageFromFile"),
        dict(type="Resize", scale=(24, 24)),
        dict(type="PackInputs"),
    ],
)


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


def line(text, name):
    return next(row for row in text.splitlines() if row.startswith(name)).removeprefix(name).strip()


def test_one_screen_tells_what_the_run_would_be(tmp_path):
    cfg = config(tmp_path)
    text = "\n".join(dry_run(cfg, 10).lines)
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


def test_missing_files_are_told_and_two_ranks_share_the_steps(tmp_path):
    cfg = config(tmp_path)
    cfg.model.teacher.update(checkpoint="gone.pth", allow_random_weights=False)
    images = dict(FOLDER, type="ImageNet", split="train")
    subset = dict(type="ClassBalancedSubset", fraction=0.05, dataset=images)
    cfg.train_dataloader.dataset = subset
    path = dump(cfg, tmp_path / "small.py")
    options = ("--dry-run", "--images-per-second", 100)
    text = launch("tools/dist_train.sh", path, 2, *options, ok=False)
    assert "model.teacher.checkpoint 'gone.pth': no such file" in text
    assert "train_dataloader.dataset.dataset (ImageNet" in text and "no/such" in text
    # 5% of 1,281,167 images, by four and by two ranks
    assert line(text, "steps").startswith("3 epochs of 8008,") and "ranks: 2" in text
    assert "loss_link" in line(text, "step 2")


@pytest.mark.parametrize(
    ("key", "value", "words"),
    [
        ("model.head.num_classes", 9, "has 10 classes, but model.head.num_classes=9"),
        ("model.link_head.links", [(1, 2)], "1 (first, last) pairs"),
        ("model.link_head.loss_weight", 3e38, "loss_link is"),
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


@pytest.mark.parametrize(
    ("dataset", "images"),
    [
        (dict(type="ConcatDataset", datasets=[FOLDER, FOLDER]), 2000),
        (dict(type="RepeatDataset", times=3, dataset=FOLDER), 3000),
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
    assert any(
        f"3 epochs of {images // 4}, {3 * images // 4:,} in all" in words for words in tried.lines
    )
    hours = 3 * images / 3600  # one image a second
    assert any(f"{hours:.1f} hours at 1 images/s (given)" in words for words in tried.lines)
    assert any("expected at" in words for words in tried.missing)
    assert any("1000 images are assumed" in words for words in tried.missing)


def test_the_real_length_is_taken_where_the_data_are_there(tmp_path):
    cfg = config(tmp_path)
    data = dict(cfg.train_dataloader.dataset, num_images=24)
    cfg.train_dataloader.dataset = dict(type="ConcatDataset", datasets=[data, data])
    tried = dry_run(cfg, 1.0)
    assert any("3 epochs of 12, 36 in all" in words for words in tried.lines) and not tried.missing


@pytest.mark.parametrize(("epochs", "warmup", "shortened"), [(3, 1, False), (40, 20, True)])
def test_the_learning_rates_are_those_of_the_run(tmp_path, monkeypatch, epochs, warmup, shortened):
    """By the formulas of a linear warm-up and a cosine."""
    length = 100
    if shortened:
        monkeypatch.setattr(run_summary, "_LR_STEPS", 50 * epochs)
    cfg = config(tmp_path)
    cfg.train_cfg.max_epochs = epochs
    cfg.train_dataloader.update(batch_size=10, dataset=FOLDER)  # 1000 images are assumed
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
    for epoch in range(epochs):
        share = epoch * length / (warmup * length - 1)
        value = 1e-3 * (0.01 + 0.99 * min(share, 1.0))
        if epoch >= warmup:
            turn = math.cos(math.pi * (epoch - warmup) / (epochs - warmup))
            value = 1e-5 + (1e-3 - 1e-5) * (1 + turn) / 2
        wanted.append(value)
    found = []
    real = run_summary.learning_rates
    monkeypatch.setattr(
        run_summary, "learning_rates", lambda *args: found.append(real(*args)) or found[0]
    )
    dry_run(cfg, 1.0)
    assert found[0] == pytest.approx(wanted, rel=1e-3)


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
    boxed = MadeUpImages(1, [dict(type="CropToBox"), dict(type="PackInputs")], 2, (40, 60))
    assert boxed[0]["inputs"].shape == (3, 20, 30)  # the middle half of both sides
