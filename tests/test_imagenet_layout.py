"""The user's own command at full size, on a folder laid out like ImageNet."""

import re
import sys

import pytest
import torch
from PIL import Image

from aal_plugin.data import draw_shapes

from .test_launch import launch, load

CONFIG = "configs/aal_deit-s_in1k-5pct.py"


def imagenet_of_shapes(root):
    """JPEG files of 256 px in train/<class>/ and val/<class>/, an image for each of 1,000 classes.

    MMPretrain's ImageNet demands as many folders as there are classes.
    """
    for seed, split in enumerate(("train", "val")):
        for index, image in enumerate(draw_shapes(1000, 64, seed).images):
            path = root / split / f"n{index:08}" / f"{split}_{index}.JPEG"
            path.parent.mkdir(parents=True)
            Image.fromarray(image).resize((256, 256), Image.BICUBIC).save(path)
    return root


def options(root, **changes):
    """--cfg-options for a short run: the data, random teacher weights, small batches."""
    values = {
        "train_dataloader.dataset.dataset.data_root": root,
        "val_dataloader.dataset.data_root": root,
        "train_dataloader.batch_size": 4,
        "train_dataloader.num_workers": 1,
        "train_dataloader.num_batch_per_epoch": 2,
        "train_cfg.max_epochs": 6,  # the recipe warms up for five
        "train_cfg.val_interval": 6,
        "val_dataloader.batch_size": 8,
        "val_dataloader.num_workers": 1,
        "val_dataloader.num_batch_per_epoch": 2,
        "model.teacher.pretrained": False,
        "model.teacher.allow_random_weights": True,
        "default_hooks.logger.interval": 1,
        **changes,
    }
    return ["--cfg-options", *(f"{key}={value}" for key, value in values.items())]


@pytest.mark.slow
def test_users_command_trains_validates_and_resumes_on_two_ranks(tmp_path):
    root = imagenet_of_shapes(tmp_path / "imagenet")
    work_dir = tmp_path / "run"
    common = ["tools/dist_train.sh", CONFIG, 2, "--work-dir", work_dir]
    text = launch(*common, *options(root))
    assert re.search(r"Epoch\(train\) +\[6\]\[2/2\]", text) and "accuracy/top5" in text
    assert all(name in text for name in ("eta:", "loss_link", "link_distance", "link_weight"))
    text = launch(*common, "--resume", *options(root, **{"train_cfg.max_epochs": 7}))
    assert "resumed epoch: 6, iter: 12" in text and "link_weight: 1882.9603" in text
    saved = load(work_dir / "epoch_7.pth")
    links = sum(v.numel() for k, v in saved["state_dict"].items() if k.startswith("link_head."))
    assert links == 28_608 + 952


@pytest.mark.slow
def test_checkpoint_of_the_recipe_is_no_larger_than_the_plain_students_and_its_links(tmp_path):
    root = imagenet_of_shapes(tmp_path / "imagenet")
    sizes = {}
    for name in ("aal_deit-s_in1k-5pct", "baselines/deit-s_in1k-5pct"):
        given = options(root, **{"train_dataloader.num_batch_per_epoch": 1})
        if not name.startswith("aal"):
            given = [option for option in given if "teacher" not in option]
        work_dir = tmp_path / name
        launch(
            sys.executable,
            "tools/train.py",
            f"configs/{name}.py",
            "--work-dir",
            work_dir,
            *given,
        )
        sizes[name] = (work_dir / "epoch_6.pth").stat().st_size
        saved = load(work_dir / "epoch_6.pth")
    assert isinstance(saved["state_dict"]["backbone.pos_embed"], torch.Tensor)
    links = 28_608 + 952
    token = 384 + 384 + 384 * 1000 + 1000  # itself, its position and its head
    extra = 4 * (links + token) * 4  # float32: the weights, their average, AdamW's two moments
    assert sizes["aal_deit-s_in1k-5pct"] <= sizes["baselines/deit-s_in1k-5pct"] + extra + 40_000


LAB = """
_base_ = "mmpretrain::{base}"
model = dict(
    type="aal_plugin.mm.AALClassifier",
    {backbone}
    teacher=dict(type="TimmTeacher", model_name="resnet18", allow_random_weights=True),
    link_head=dict(type="AttentionLinkHead", links="full", loss_weight=2000.0),
)
default_hooks = dict(
    aal=dict(type="aal_plugin.mm.LambdaDecayHook", gammas=(0.99, 0.98), milestones=(200,)),
)
"""
PIT = """backbone=dict(_delete_=True, type="TIMMPooledBackbone", model_name="pit_ti_224"),
    head=dict(in_channels=256),"""


@pytest.mark.slow
@pytest.mark.parametrize(
    ("base", "backbone"),
    [
        ("deit/deit-tiny_4xb256_in1k.py", ""),
        ("swin_transformer/swin-tiny_16xb64_in1k.py", ""),
        ("deit/deit-tiny_4xb256_in1k.py", PIT),
    ],
    ids=["deit", "swin", "pit"],
)
def test_labs_own_config_trains_with_the_three_pieces_alone(tmp_path, base, backbone):
    root = imagenet_of_shapes(tmp_path / "imagenet")
    config = tmp_path / "lab.py"
    config.write_text(LAB.format(base=base, backbone=backbone))
    given = [option for option in options(root) if "pretrained" not in option]
    given = [option.replace("dataset.dataset.", "dataset.") for option in given]
    given = [option.replace("max_epochs=6", "max_epochs=21") for option in given]  # warm-up: 20
    given += ["train_dataloader.num_batch_per_epoch=1", "train_cfg.val_interval=21"]
    text = launch(sys.executable, "tools/train.py", config, "--work-dir", tmp_path, *given)
    assert re.search(r"Epoch\(train\) +\[21\]\[1/1\]", text) and "link_distance" in text
