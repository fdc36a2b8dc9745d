"""Images that a pipeline normalises reach the teacher as it was trained for, or the run stops."""

import numpy as np
import pytest
import torch
from mmengine.config import Config
from mmengine.hooks import Hook
from mmengine.registry import HOOKS, init_default_scope
from mmengine.runner import Runner
from mmpretrain.registry import DATASETS, MODELS

from aal_plugin.mm.models.normalisation import images_normalisation
from tests.mm.small import AAL, TEACHER, batch, build, total, training

MEAN, STD = [123.675, 116.28, 103.53], [58.395, 57.12, 57.375]
UNIT = dict(mean=[value / 255 for value in MEAN], std=[value / 255 for value in STD])
TENSOR = [
    dict(type="NumpyToPIL", to_rgb=True),
    dict(type="torchvision/ToTensor"),
    dict(type="torchvision/Normalize", **UNIT),
]
NORMALIZE = dict(type="Normalize", mean=MEAN, std=STD)
BARE = dict(num_classes=10, mean=None, std=None)
PIPELINES = {
    "torchvision": (TENSOR, dict(BARE, to_rgb=False)),
    "mmcv": ([NORMALIZE], dict(BARE, to_rgb=False)),
    "mmcv, turned round later": (
        [dict(NORMALIZE, to_rgb=False, mean=MEAN[::-1], std=STD[::-1])],
        dict(BARE, to_rgb=True),
    ),
    "both": (TENSOR[:2], dict(num_classes=10, **UNIT, to_rgb=False)),
    "neither": ([], dict(BARE, to_rgb=True)),
}


def config(tmp_path, steps, pixels, **changes):
    cfg = training(tmp_path, model=dict(AAL, data_preprocessor=pixels), epochs=1, images=10)
    if pixels["mean"] is not None and not pixels["to_rgb"]:
        cfg.model.images_rgb = True
    for loader in ("train_dataloader", "val_dataloader"):
        cfg[loader].dataset.pipeline = [*steps, dict(type="PackInputs")]
    cfg.val_dataloader = cfg.val_cfg = cfg.val_evaluator = None
    cfg.merge_from_dict(changes)
    return cfg


@HOOKS.register_module(force=True)
class SeenHook(Hook):
    """Collects what the teacher's model is given, and the images of the data set."""

    seen: list = []

    def before_train_iter(self, runner, batch_idx, data_batch=None):
        if batch_idx == 0:
            teacher = runner.model.teacher.model
            teacher.register_forward_pre_hook(lambda m, args: self.seen.append(args[0]))
            runner.model.teacher._features = teacher


@pytest.mark.parametrize("name", PIPELINES)
def test_a_run_gives_the_teacher_the_pixels_of_its_own_preprocessing(tmp_path, name):
    """The data set's own pixels, normalised in float64 as timm says that the teacher was."""
    cfg = config(tmp_path, *PIPELINES[name])
    cfg.train_dataloader.sampler.shuffle = False
    cfg.custom_hooks.append(dict(type="SeenHook"))
    SeenHook.seen = []
    init_default_scope("mmpretrain")
    raw = DATASETS.build(dict(cfg.train_dataloader.dataset, pipeline=[]))
    bgr = (
        torch.from_numpy(np.stack([raw[i]["img"] for i in range(10)])).double().permute(0, 3, 1, 2)
    )
    runner = Runner.from_cfg(cfg)
    runner.train()
    own = runner.model.teacher.model.pretrained_cfg
    mean, std = (torch.tensor(own[k], dtype=torch.float64).view(3, 1, 1) for k in ("mean", "std"))
    wanted = (bgr.flip(1) / 255 - mean) / std
    torch.testing.assert_close(SeenHook.seen[0].double(), wanted, rtol=0, atol=1e-4)


def test_without_a_hook_of_ours_the_first_batch_stops_the_run_or_a_setting_says_it(tmp_path):
    """As MMPretrain's own train.py with a config whose only loss is not lowered by a hook."""
    cfg = config(tmp_path, *PIPELINES["torchvision"], custom_hooks=[])
    words = "would see wrong pixels: the first batch has values.*set model.images_mean and model.im"
    with pytest.raises(ValueError, match=words):
        Runner.from_cfg(cfg).train()
    cfg = config(tmp_path / "said", *PIPELINES["torchvision"], custom_hooks=[])
    cfg.model.update(images_mean=MEAN, images_std=STD, images_rgb=True)
    runner = Runner.from_cfg(cfg)
    runner.train()
    own = runner.model.teacher.images
    for channel in range(3):  # TimmTeacher's test_resnet has mean and std 127.5
        assert float(own.scale.flatten()[channel]) == pytest.approx(STD[channel] / 127.5, rel=1e-5)


def test_a_loss_that_starts_later_is_checked_at_the_first_step_too():
    model = build(AAL)
    model.link_head.set_weight(0.0)
    with pytest.raises(ValueError, match="would see wrong pixels"):
        model(torch.rand(2, 3, 24, 24) * 1000, None, mode="loss")


def test_data_sets_within_wrappers_are_read_and_must_agree():
    def of(*pipelines):
        parts = [dict(type="CustomDataset", pipeline=list(steps)) for steps in pipelines]
        whole = dict(type="RepeatDataset", dataset=dict(type="ConcatDataset", datasets=parts))
        return Config(dict(train_dataloader=dict(dataset=whole)))

    pixels = torch.nn.Module()
    load = dict(type="LoadImageFromFile")
    found = images_normalisation(of([load, *TENSOR], [load, NORMALIZE]), pixels)
    assert found.mean == pytest.approx(MEAN) and found.std == pytest.approx(STD) and found.rgb
    nothing = images_normalisation(of([load], [load]), pixels)
    assert nothing.does_nothing and nothing.rgb is False
    with pytest.raises(
        ValueError, match="train_dataloader: its data sets normalise images differe"
    ):
        images_normalisation(of([load, *TENSOR], [load]), pixels)


def test_a_teacher_whose_own_config_normalises_in_the_pipeline_is_read_likewise():
    own = dict(AAL, type="ImageClassifier", data_preprocessor=dict(BARE, to_rgb=False))
    for key in ("teacher", "link_head"):
        own.pop(key)
    own["backbone"] = dict(type="SmallResNet", depth=10, stem_channels=4, base_channels=4)
    own["neck"] = dict(type="GlobalAveragePooling")
    own["head"] = dict(type="LinearClsHead", num_classes=10, in_channels=32)
    data = dict(type="CustomDataset", pipeline=[dict(type="LoadImageFromFile"), *TENSOR])
    cfg = Config(dict(model=own, train_dataloader=dict(dataset=data), default_scope="mmpretrain"))
    teacher = MODELS.build(dict(type="MMTeacher", config=cfg, allow_random_weights=True))
    assert teacher.images.mean == pytest.approx(MEAN) and teacher.images.std == pytest.approx(STD)
    assert teacher.images.rgb


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        (dict(images_mean=MEAN), "model.images_mean=.* and images_std=None; give both or none"),
        (dict(images_mean=MEAN, images_std=[1, 0, 1]), "model.images_std=0; choose numbers in pix"),
        (dict(images_mean="1", images_std=STD), "model.images_mean='1'; choose numbers in pixel v"),
        (dict(images_mean=[1, 2], images_std=[1, 2]), "takes images of 3 channels"),
    ],
)
def test_wrong_settings_name_the_key(settings, words):
    with pytest.raises(ValueError, match=words):
        build(AAL, **settings)


def test_a_student_of_one_channel_learns_from_a_teacher_of_three():
    backbone = dict(AAL["backbone"], in_channels=1)
    pixels = dict(num_classes=10, mean=[33.0], std=[78.0])
    model = build(AAL, backbone=backbone, data_preprocessor=pixels, teacher=TEACHER)
    grey = torch.randint(0, 256, (4, 1, 24, 24), dtype=torch.uint8)
    data = model.data_preprocessor(dict(inputs=grey, data_samples=batch()[1]), training=True)
    total(model(**data, mode="loss")).backward()
    assert model.backbone.patch_embed.projection.weight.grad.abs().sum() > 0
