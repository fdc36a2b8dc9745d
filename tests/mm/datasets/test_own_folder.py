"""An image folder of one's own: found, checked and trained on, from its root alone."""

import re
import shutil
import sys
from pathlib import Path

import pytest
from mmengine.config import Config

from aal_plugin.core import link_weight
from aal_plugin.data.shapes_export import main as shapes
from aal_plugin.mm.datasets.own_folder import fill_in_own_folder
from tests.test_launch import launch

CONFIGS = Path(__file__).resolve().parents[3] / "configs"
AAL = CONFIGS / "folder" / "aal_deit-s_folder.py"
# The student at a twentieth of its size, and a teacher with no weights to fetch.
SMALL = f"""
_base_ = "{AAL}"
model = dict(
    backbone=dict(
        arch=dict(
            _delete_=True, embed_dims=48, num_layers=3, num_heads=3, feedforward_channels=96
        ),
        img_size=64,
    ),
    head=dict(in_channels=48),
    teacher=dict(model_name="test_resnet", pretrained=False, allow_random_weights=True),
)
train_pipeline, test_pipeline = _base_.train_pipeline, _base_.test_pipeline
train_pipeline[1].scale = test_pipeline[1].scale = test_pipeline[2].crop_size = 64
train_dataloader = dict(num_workers=0, persistent_workers=False)
val_dataloader = test_dataloader = dict(num_workers=0, persistent_workers=False)
default_hooks = dict(logger=dict(interval=1))
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Shapes of eight of the ten classes, as `python -m aal_plugin.data` exports them."""
    root = tmp_path_factory.mktemp("own") / "shapes"
    assert shapes(["--export", str(root), "--train", "60", "--val", "20"]) == 0
    for split in ("train", "val"):
        for surplus in sorted((root / split).iterdir())[8:]:
            shutil.rmtree(surplus)
    return root


def given(path, **options):
    cfg = Config.fromfile(path)
    cfg.merge_from_dict(options)
    return cfg


def test_a_run_and_its_test_need_the_root_alone(folder, tmp_path):
    config = tmp_path / "small.py"
    config.write_text(SMALL)
    work_dir = tmp_path / "run"
    options = [f"data_root={folder}", "epochs=3", "batch_size=16"]
    told = launch(
        *(sys.executable, "tools/train.py", config, "--test", "--work-dir", work_dir),
        *("--cfg-options", *options),
    )
    images = sum(1 for _ in (folder / "train").rglob("*.png"))
    assert re.search(rf"Epoch\(train\) +\[3\]\[{images // 16}/{images // 16}\]", told)
    # λ at epoch 2 of 3 is the paper's at epoch 200 of 300.
    (line,) = re.findall(r"Epoch\(train\) +\[3\]\[1/.*", told)
    weight = float(re.search(r"link_weight: ([\d.]+)", line)[1])
    assert weight == pytest.approx(link_weight(200, 2000.0, (0.99, 0.98), (200,)), rel=1e-3)
    # DeiT's 5e-4 * 16 / 512; after one epoch of warm-up the cosine of 1 / 3.
    lr = 1e-5 + (5e-4 * 16 / 512 - 1e-5) * 0.75
    assert float(re.search(r" lr: ([\d.e-]+)", line)[1]) == pytest.approx(lr, rel=1e-3)
    written = Config.fromfile(work_dir / "small.py")
    assert written.model.head.num_classes == written.data_preprocessor.num_classes == 8
    # The test images are the validation's.
    *_, validated, tested = re.findall(r"accuracy/top1: ([\d.]+)", told)
    assert tested == validated


@pytest.mark.parametrize("epochs", [3, 100])
def test_warm_up_follows_the_epochs_and_a_second_call_changes_nothing(folder, epochs):
    cfg = given(AAL, data_root=str(folder), epochs=epochs, batch_size=16)
    fill_in_own_folder(cfg)
    assert cfg.train_cfg.max_epochs == epochs
    assert cfg.param_scheduler.warmup_epochs == (1 if epochs == 3 else 5)
    again = Config(cfg.to_dict())
    fill_in_own_folder(again)
    assert again.to_dict() == cfg.to_dict()


def test_baseline_and_aal_see_the_same_images_for_as_long(folder):
    filled = []
    for name in ("deit-s_folder", "aal_deit-s_folder"):
        cfg = given(AAL.with_stem(name), data_root=str(folder), epochs=12, batch_size=8)
        fill_in_own_folder(cfg)
        filled.append(cfg)
    plain, aal = filled
    for key in ("train_dataloader", "val_dataloader", "param_scheduler", "optim_wrapper"):
        assert plain[key] == aal[key]
    assert plain.model.backbone.arch == aal.model.backbone.arch
    assert plain.train_cfg.max_epochs == aal.train_cfg.max_epochs == 12
    assert plain.train_dataloader.batch_size == 8 and plain.param_scheduler.warmup_epochs == 2


def test_what_the_folder_lacks_is_told_before_a_run(folder, tmp_path):
    def error(kind, root=folder, **options):
        with pytest.raises(kind) as told:
            fill_in_own_folder(given(AAL, data_root=str(root), **options))
        return str(told.value)

    assert "no folder" in error(FileNotFoundError, tmp_path / "none")
    (tmp_path / "flat" / "train").mkdir(parents=True)
    assert "one folder for each class" in error(FileNotFoundError, tmp_path / "flat")
    assert "epochs=0" in error(ValueError, epochs=0)
    assert "batch_size='many'" in error(ValueError, batch_size="many")
    message = error(ValueError, batch_size=1000)
    assert re.search(r"batch_size=1000: .*train has only \d+ images; choose \d+ or less", message)
    copy = tmp_path / "copy"
    shutil.copytree(folder, copy)
    (lacking, *_) = sorted((copy / "val").iterdir())
    shutil.rmtree(lacking)
    assert f"one of them lacks {lacking.name}" in error(ValueError, copy)


def test_other_configs_are_left_alone():
    cfg = Config.fromfile(CONFIGS / "baselines" / "deit-s_in1k.py")
    before = cfg.to_dict()
    fill_in_own_folder(cfg)
    assert cfg.to_dict() == before
