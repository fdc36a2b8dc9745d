"""Small AAL checkpoints to export, and their logits."""

import copy

import numpy as np
import torch
from mmengine.config import Config

from tests.mm.small import AAL, training

TIMM_VIT = dict(type="TIMMPooledBackbone", model_name="test_vit", img_size=32)
SIZES = dict(img_size=24, patch_size=8)
ARCH = AAL["backbone"]["arch"]
STUDENTS = {
    "vit": {},
    "timm": dict(
        backbone=TIMM_VIT, head=dict(type="LinearClsHead", num_classes=10, in_channels=64)
    ),
    "distilled": dict(
        backbone=dict(type="DistilledVisionTransformer", arch=ARCH, **SIZES),
        head=dict(type="DeiTClsHead", num_classes=10, in_channels=16),
    ),
}


def saved(folder, name="vit", **changes):
    """(config, checkpoint file, images, logits) of an AAL model with random weights."""
    config = training(folder / "work", model=dict(AAL, **STUDENTS[name], **changes))
    config.train_dataloader.dataset.pipeline = [dict(type="RandomFlip"), dict(type="PackInputs")]
    config.model.train_cfg = dict(augments=[dict(type="Mixup", alpha=0.8)])
    model = build_any(config.model)
    path = folder / "epoch_1.pth"
    classes = [f"class {number}" for number in range(10)]
    torch.save(
        dict(state_dict=model.state_dict(), meta=dict(dataset_meta=dict(classes=classes))), path
    )
    side = 32 if name == "timm" else 24
    images = torch.randn(3, 3, side, side, generator=torch.Generator().manual_seed(5))
    with torch.no_grad():
        logits = model.eval()(images)
    assert logits.std() > 1e-3  # random weights tell students apart
    return Config(config.to_dict()), str(path), images, logits


def build_any(settings):
    """As `small.build`, for any head: zero weights would give zero logits."""
    from mmengine.registry import init_default_scope
    from mmpretrain.registry import MODELS

    init_default_scope("mmpretrain")
    torch.manual_seed(0)
    model = MODELS.build(copy.deepcopy(dict(settings)))
    model.init_weights()
    for part in model.head.modules():
        if isinstance(part, torch.nn.Linear):
            torch.nn.init.normal_(part.weight)
            torch.nn.init.normal_(part.bias)
    return model


def noise_image(path):
    """A 40×40 PNG of noise."""
    from PIL import Image

    pixels = np.random.default_rng(0).integers(0, 256, (40, 40, 3), np.uint8)
    Image.fromarray(pixels).save(path)
    return path
