"""Every config loads; those of ImageNet build at full size and take a training step."""

from pathlib import Path

import pytest
import torch
from mmengine.config import Config
from mmengine.logging import MMLogger
from mmengine.registry import init_default_scope
from mmpretrain.registry import MODELS

from .mm.small import batch, total

CONFIGS = sorted((Path(__file__).resolve().parents[1] / "configs").glob("*.py"))
SHARES = {"5pct": 0.05, "10pct": 0.1, "30pct": 0.3, "50pct": 0.5}
LINK_WEIGHTS = {"full": 68_544, "alpha": 28_608, "beta": 23_280}


@pytest.mark.parametrize("path", CONFIGS, ids=lambda path: path.stem)
def test_config_builds_and_takes_a_training_step(path):
    cfg = Config.fromfile(path)
    init_default_scope(cfg.default_scope)
    MMLogger.get_current_instance().setLevel("ERROR")
    if cfg.model.type == "AALClassifier":
        cfg.model.teacher.update(allow_random_weights=True)
        cfg.model.teacher.update(
            dict(pretrained=False) if "pretrained" in cfg.model.teacher else dict(checkpoint=None)
        )
    preprocessor = dict(cfg.data_preprocessor, type="ClsDataPreprocessor")
    model = MODELS.build(dict(cfg.model, data_preprocessor=preprocessor))
    side = 48 if "quickstart" in path.stem else 224
    loss = total(model(*batch(2, (side, side)), mode="loss"))
    loss.backward()
    assert torch.isfinite(loss)


@pytest.mark.parametrize(
    "path", [p for p in CONFIGS if p.stem.startswith("aal_deit-s")], ids=lambda path: path.stem
)
def test_recipes_are_the_papers(path):
    cfg = Config.fromfile(path)
    variant = path.stem.split("in1k")[1].strip("-").split("-")
    share = next((SHARES[part] for part in variant if part in SHARES), None)
    links = "full" if "full" in variant else ("beta" if share is None else "alpha")
    assert cfg.model.link_head.links == links
    assert cfg.model.link_head.loss_weight == 2000
    assert cfg.model.teacher.model_name == "efficientnet_b3" and cfg.model.teacher.pretrained
    assert cfg.custom_hooks == [
        dict(type="LambdaDecayHook", gammas=(0.99, 0.98), milestones=(200,))
    ]
    plain = Config.fromfile(
        path.parent / ("deit-s_in1k" + (f"-{variant[0]}" if share else "") + ".py")
    )
    assert cfg.train_dataloader == plain.train_dataloader
    assert cfg.train_dataloader.dataset.get("fraction") == share
    assert (cfg.train_cfg.max_epochs, cfg.optim_wrapper.optimizer.lr) == (300, 1e-3)
    assert cfg.train_dataloader.batch_size * 8 == cfg.auto_scale_lr.base_batch_size == 1024
    assert cfg.optim_wrapper.optimizer.weight_decay == 0.05
    warmup, cosine = cfg.param_scheduler
    assert (warmup.end, cosine.begin) == (5, 5)


def test_each_subset_has_its_three_configs():
    names = {path.stem for path in CONFIGS}
    for share in ("", *(f"-{s}" for s in SHARES)):
        assert {
            f"deit-s_in1k{share}",
            f"aal_deit-s_in1k{share}",
            f"aal_deit-s_in1k{share}-full",
        } <= names
