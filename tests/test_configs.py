"""Every config loads; those of ImageNet build at full size and take a training step."""

from pathlib import Path

import pytest
import torch
from mmengine.config import Config
from mmengine.logging import MMLogger
from mmengine.registry import init_default_scope
from mmpretrain.registry import MODELS

from aal_plugin.mm.configs.check import check_config
from aal_plugin.mm.configs.registered import registered, with_names

from .mm.pure_python import pure_python
from .mm.small import batch, total

FOLDER = Path(__file__).resolve().parents[1] / "configs"
CONFIGS = sorted(p for p in FOLDER.rglob("*.py") if p.parent.name != "_base_")
# One of each kind: text and class types, `_base_` of one and of two folders up.
AS_PURE = ["aal_deit-s_cifar10-hard", "aal_deit-s_cub", "aal_deit-s_folder", "wrn-16-2_cifar10"]
AS_PURE += ["aal-guidance_deit-t_cifar100", "aal_swin-t_in1k-5pct"]
SMALL = [p for p in CONFIGS if "shapes" in p.stem or "quickstart" in p.stem]
SHARES = {"5pct": 0.05, "10pct": 0.1, "30pct": 0.3, "50pct": 0.5}
SIDES = {"384px": 384, "wrn": 32, "nin": 32, "resnet-56": 32}


def step(path, cfg=None):
    """A training step of a config, with random weights and two images of its real size."""
    cfg = cfg or Config.fromfile(path)
    init_default_scope(cfg.default_scope)
    MMLogger.get_current_instance().setLevel("ERROR")
    teacher = cfg.model.get("teacher")
    if teacher:
        teacher.update(allow_random_weights=True)
        teacher.update(dict(pretrained=False) if "pretrained" in teacher else dict(checkpoint=None))
    if cfg.model.backbone.get("pretrained"):
        cfg.model.backbone.pretrained = False
    preprocessor = dict(cfg.data_preprocessor, type="ClsDataPreprocessor")
    model = MODELS.build(dict(cfg.model, data_preprocessor=preprocessor)).train()
    side = 48 if path in SMALL else 224
    side = next((size for word, size in SIDES.items() if word in path.stem), side)
    images, samples = batch(2, (side, side))
    for sample in samples:  # the heads of a Mixup recipe take scores
        label = torch.nn.functional.one_hot(sample.gt_label, cfg.data_preprocessor.num_classes)
        sample.set_gt_score(label[0].float())
    loss = total(model(images, samples, mode="loss"))
    loss.backward()
    assert torch.isfinite(loss)
    return model


@pytest.mark.parametrize("path", CONFIGS, ids=lambda path: path.stem)
def test_config_is_a_whole_recipe(path):
    cfg = Config.fromfile(path)
    assert cfg.train_dataloader.dataset and cfg.val_dataloader.dataset and cfg.val_evaluator
    assert cfg.train_cfg.max_epochs and cfg.optim_wrapper.optimizer.lr
    assert cfg.custom_imports.imports == ["aal_plugin.mm"]
    command = path.read_text().splitlines()[0]
    assert command.split()[2] == str(path.relative_to(FOLDER.parent))
    check_config(cfg)  # nothing is held against it


@pytest.mark.parametrize("path", SMALL, ids=lambda path: path.stem)
def test_small_config_builds_and_takes_a_training_step(path):
    step(path)


@pytest.mark.parametrize("name", AS_PURE)
def test_config_reads_the_same_as_pure_python_with_classes_as_types(name, tmp_path):
    (path,) = (path for path in CONFIGS if path.stem == name)
    text = Config.fromfile(path)
    pure = Config.fromfile(pure_python(text, tmp_path / "pure.py"))
    assert isinstance(pure.model.type, type)
    kinds = dict(registered())  # a class may have several names: BN and BN2d

    def built(part):
        if isinstance(part, dict):
            return {k: kinds.get(v, v) if k == "type" else built(v) for k, v in part.items()}
        return [built(each) for each in part] if isinstance(part, (list, tuple)) else part

    for key in (key for key in text if key != "custom_imports"):
        assert built(with_names(pure[key])) == built(text[key]), key


@pytest.mark.parametrize("path", SMALL, ids=lambda path: path.stem)
def test_small_config_takes_a_training_step_as_pure_python(path, tmp_path):
    pure = Config.fromfile(pure_python(Config.fromfile(path), tmp_path / "pure.py"))
    step(path, pure)


@pytest.mark.slow
@pytest.mark.parametrize("path", [p for p in CONFIGS if p not in SMALL], ids=lambda path: path.stem)
def test_config_builds_and_takes_a_training_step_at_its_real_size(path):
    step(path)


@pytest.mark.parametrize(
    ("name", "links", "count"),
    [
        ("aal_deit-s_in1k", "full", 68_544),
        ("aal_deit-s_in1k", "alpha", 28_608),
        ("aal_deit-s_in1k", "beta", 23_280),
        ("aal_deit-b_in1k", "full", 137_088),
        ("aal_pit-s_in1k-5pct", "full", 85_680),
        ("aal_swin-t_in1k-5pct", "full", 131_376),
    ],
)
def test_link_weights_number_what_the_paper_says(name, links, count):
    cfg = Config.fromfile(FOLDER / f"{name}.py")
    init_default_scope(cfg.default_scope)
    cfg.model.teacher.update(pretrained=False, allow_random_weights=True)
    cfg.model.link_head.links = links
    model = MODELS.build(cfg.model)
    assert sum(link.weight.numel() for link in model.link_head.links) == count


def test_each_subset_has_its_three_configs():
    names = {path.stem for path in CONFIGS}
    for share in ("", *(f"-{s}" for s in SHARES)):
        assert {
            f"deit-s_in1k{share}",
            f"aal_deit-s_in1k{share}",
            f"aal_deit-s_in1k{share}-full",
        } <= names
