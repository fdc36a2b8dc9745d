"""Real tiny runs, trained once: AAL with guidance and two seeds, the plain student, one of timm."""

import sys
from pathlib import Path

import pytest
import yaml
from mmengine.registry import DefaultScope
from mmengine.runner import Runner
from timm.utils import update_summary

from aal_plugin.data import export_image_folder
from aal_plugin.timm.launch import load_script, put_task_in
from tests.mm.small import AAL, PLAIN, training

SCRIPT = Path(__file__).parents[1] / "timm" / "train_script.py"
HOOKS = [
    dict(type="LambdaDecayHook", gammas=(0.5, 0.1), milestones=(2,)),
    dict(type="LinkHeatmapHook"),
    dict(type="TeacherAccuracyHook"),
]


@pytest.fixture(scope="session")
def work_dirs(tmp_path_factory):
    """aal/seed0, aal/seed1 and plain, two epochs of two steps each."""
    folder = tmp_path_factory.mktemp("runs")
    dirs = [folder / "aal" / "seed0", folder / "aal" / "seed1", folder / "plain"]
    with DefaultScope.overwrite_default_scope("mmpretrain"):
        for seed, work_dir in enumerate(dirs[:2]):
            changes = dict(custom_hooks=HOOKS, randomness=dict(seed=seed), log_level="INFO")
            config = training(work_dir, dict(AAL, guidance=2.5), images=20, **changes)
            Runner.from_cfg(config).train()
        Runner.from_cfg(training(dirs[2], PLAIN, images=20)).train()
    return dirs


@pytest.fixture(scope="session")
def timm_dir(tmp_path_factory):
    """An output folder of train.py with AAL: three epochs, with timm's own summary.csv."""
    folder = tmp_path_factory.mktemp("timm") / "out"
    script = load_script(str(SCRIPT))
    put_task_in(script)
    train_one_epoch = script.train_one_epoch

    def logged(epoch, *args, **kwargs):
        metrics = train_one_epoch(epoch, *args, **kwargs)
        scores = dict(loss=1.0 / (epoch + 1), top1=20.0 + epoch, top5=50.0 + epoch)
        summary = folder / "summary.csv"
        update_summary(epoch, metrics, scores, summary, lr=0.01, write_header=epoch == 0)
        return metrics

    script.train_one_epoch = logged
    options = ["--aal-teacher", "test_resnet", "--aal-random-teacher", "--aal-gammas", "0.5"]
    argv = sys.argv
    sys.argv = [str(SCRIPT), "--output", str(folder), "--epochs", "3", *options]
    try:
        script.main()
    finally:
        sys.argv = argv
    # The stand-in has no options for its model and data, which timm's own train.py writes.
    export_image_folder(folder / "shapes", train=5, val=10, size=32)
    own = dict(model="vit_tiny_patch16_224", img_size=32, num_classes=5, val_split="validation")
    own.update(model_kwargs=dict(patch_size=8, embed_dim=16, depth=3, num_heads=2))
    options = yaml.safe_load((folder / "args.yaml").read_text())
    options.update(own, data_dir=str(folder / "shapes"))
    (folder / "args.yaml").write_text(yaml.safe_dump(options))
    return folder
