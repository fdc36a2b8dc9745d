"""Small configs that the tests build on: a ViT of three blocks and timm's smallest CNN."""

import copy
import itertools
import json
from pathlib import Path

import torch
from mmengine.config import Config
from mmengine.logging import MMLogger
from mmengine.registry import init_default_scope
from mmpretrain.registry import MODELS
from mmpretrain.structures import DataSample

import aal_plugin.mm  # noqa: F401
from aal_plugin.mm.runs.as_data import guard_loaders

guard_loaders()  # as our launchers do; without it MMEngine cannot read its own checkpoints
_EXPERIMENTS = itertools.count()

PLAIN = dict(
    type="ImageClassifier",
    backbone=dict(
        type="VisionTransformer",
        arch=dict(embed_dims=16, num_layers=3, num_heads=2, feedforward_channels=32),
        img_size=24,
        patch_size=8,
    ),
    head=dict(type="VisionTransformerClsHead", num_classes=10, in_channels=16),
    data_preprocessor=dict(num_classes=10, mean=[127.5] * 3, std=[64.0] * 3, to_rgb=True),
)
TEACHER = dict(type="TimmTeacher", model_name="test_resnet", allow_random_weights=True)
AAL = dict(
    PLAIN,
    type="AALClassifier",
    teacher=TEACHER,
    link_head=dict(type="AttentionLinkHead", links="full", loss_weight=2000.0),
)


def build(config, seed=0, **changes):
    """The model of a config after MMEngine's initialisation; `changes` replace its top keys."""
    init_default_scope("mmpretrain")
    MMLogger.get_current_instance().setLevel("ERROR")
    torch.manual_seed(seed)
    model = MODELS.build(copy.deepcopy(dict(config, **changes)))
    model.init_weights()
    torch.nn.init.normal_(model.head.layers.head.weight)  # zeros would stop all gradients
    return model


def batch(size=4, image=(24, 24), seed=1):
    """Normalised images and labelled samples."""
    generator = torch.Generator().manual_seed(seed)
    images = torch.randn(size, 3, *image, generator=generator)
    return images, [DataSample().set_gt_label(i % 10) for i in range(size)]


def total(losses):
    """What MMEngine back-propagates: the sum of all that is named a loss."""
    return sum(value for key, value in losses.items() if "loss" in key)


def training(work_dir, model=AAL, epochs=2, images=40, **changes):
    """A Runner config: the embedded shapes set at 24 px, λ by LambdaDecayHook."""
    data = dict(type="ShapesDataset", size=24, pipeline=[dict(type="PackInputs")])
    loader = dict(num_workers=0, persistent_workers=False)
    hooks = [dict(type="LambdaDecayHook", gammas=(0.5, 0.1), milestones=(2,))]
    config = dict(
        default_scope="mmpretrain",
        custom_imports=dict(imports=["aal_plugin.mm"], allow_failed_imports=False),
        model=copy.deepcopy(model),
        train_dataloader=dict(
            loader,
            batch_size=10,
            dataset=dict(data, split="train", num_images=images),
            sampler=dict(type="DefaultSampler", shuffle=True),
        ),
        val_dataloader=dict(
            loader,
            batch_size=20,
            dataset=dict(data, split="val", num_images=20),
            sampler=dict(type="DefaultSampler", shuffle=False),
        ),
        val_evaluator=dict(type="Accuracy", topk=(1,)),
        train_cfg=dict(by_epoch=True, max_epochs=epochs),
        val_cfg=dict(),
        optim_wrapper=dict(optimizer=dict(type="AdamW", lr=1e-3)),
        default_hooks=dict(logger=dict(type="LoggerHook", interval=1)),
        log_processor=dict(window_size=1),
        custom_hooks=hooks if model.get("type") == "AALClassifier" else [],
        visualizer=dict(type="UniversalVisualizer", vis_backends=[dict(type="LocalVisBackend")]),
        randomness=dict(seed=0),
        experiment_name=f"test-{next(_EXPERIMENTS)}",
        log_level="ERROR",
        work_dir=str(work_dir),
    )
    return Config(dict(config, **changes))


def scalars(work_dir):
    """The lines of the local visual back-end over all runs in a work dir, oldest first."""
    files = sorted(Path(work_dir).glob("*/vis_data/scalars.json"))
    return [json.loads(line) for file in files for line in file.read_text().splitlines()]
