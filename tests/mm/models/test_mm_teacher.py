import pytest
import torch
from mmengine.config import Config
from mmpretrain.registry import MODELS

import aal_plugin.mm  # noqa: F401
from tests.mm.small import AAL, batch, build, total

TEACHER = dict(
    model=dict(
        type="ImageClassifier",
        backbone=dict(type="SmallResNet", depth=10, stem_channels=4, base_channels=4),
        neck=dict(type="GlobalAveragePooling"),
        head=dict(type="LinearClsHead", num_classes=7, in_channels=32),
    ),
    data_preprocessor=dict(num_classes=7, mean=[10.0, 20, 30], std=[2.0, 3, 4], to_rgb=False),
    default_scope="mmpretrain",
)


@pytest.fixture
def files(tmp_path):
    """A teacher's config file and a checkpoint of it, as MMEngine writes them."""
    config, checkpoint = tmp_path / "teacher.py", tmp_path / "teacher.pth"
    Config(TEACHER).dump(str(config))
    model = MODELS.build(TEACHER["model"])
    torch.save(dict(meta=dict(), state_dict=model.state_dict()), checkpoint)
    return dict(type="MMTeacher", config=str(config), checkpoint=str(checkpoint))


def test_levels_are_the_backbones_stages_and_weights_the_checkpoints(files):
    teacher = MODELS.build(files)
    assert teacher.layers == [f"backbone.layer{i}" for i in (1, 2, 3, 4)]
    assert teacher.channels == [4, 8, 16, 32]
    saved = torch.load(files["checkpoint"])["state_dict"]
    assert torch.equal(teacher.model.head.fc.weight, saved["head.fc.weight"])
    maps, logits = teacher(torch.randn(2, 3, 32, 32), with_logits=True)
    assert logits.shape == (2, 7) and [level.shape[1] for level in maps] == teacher.channels


def test_bgr_teacher_of_other_classes_sees_the_pixels_of_its_own_preprocessor(files):
    aal = build(AAL, teacher=files)
    seen = []
    aal.teacher.model.backbone.register_forward_pre_hook(lambda m, args: seen.append(args[0]))
    pixels = torch.randint(0, 256, (2, 3, 24, 24), dtype=torch.uint8)  # B, G, R
    data = aal.data_preprocessor(dict(inputs=pixels, data_samples=batch(2)[1]), training=True)
    total(aal(**data, mode="loss")).backward()
    mean, std = (
        torch.tensor(TEACHER["data_preprocessor"][k]).view(3, 1, 1) for k in ("mean", "std")
    )
    torch.testing.assert_close(seen[0], (pixels - mean) / std, rtol=1e-4, atol=1e-3)


def test_missing_config_checkpoint_and_weights_are_named(files):
    with pytest.raises(
        FileNotFoundError, match="teacher.config='nowhere.py' is neither a file nor"
    ):
        MODELS.build(dict(files, config="nowhere.py"))
    with pytest.raises(FileNotFoundError, match="teacher.checkpoint='nowhere.pth': no such file"):
        MODELS.build(dict(files, checkpoint="nowhere.pth"))
    with pytest.raises(ValueError, match="the teacher has no weights"):
        MODELS.build(dict(files, checkpoint=None))


def test_checkpoint_of_another_model_is_named(files):
    torch.save(dict(state_dict=dict(weight=torch.zeros(1))), files["checkpoint"])
    with pytest.raises(ValueError, match="does not fit the teacher"):
        MODELS.build(files)


@pytest.mark.parametrize(
    ("arch", "channels", "strides"),
    [
        ("b0", [16, 24, 40, 80, 112, 192, 320], [2, 4, 8, 16, 16, 32, 32]),
        ("b3", [24, 32, 48, 96, 136, 232, 384], [2, 4, 8, 16, 16, 32, 32]),
        ("es", [24, 32, 48, 96, 144, 192], [2, 4, 8, 16, 16, 32]),
    ],
)
def test_levels_of_mmpretrains_efficientnet_are_its_stages(arch, channels, strides):
    """Channels and strides of the paper's tables: no stem, no head convolution, none merged."""
    backbone = dict(type="EfficientNet", arch=arch)
    model = dict(type="ImageClassifier", backbone=backbone, head=dict(type="ClsHead"))
    config = Config(dict(model=model, default_scope="mmpretrain"))
    teacher = MODELS.build(dict(type="MMTeacher", config=config, allow_random_weights=True))
    assert teacher.channels == channels
    maps, _ = teacher(torch.randn(1, 3, 64, 64))
    assert [level.shape[-1] for level in maps] == [64 // stride for stride in strides]


def test_class_count_of_the_checkpoint_names_the_key(files):
    other = Config.fromfile(files["config"])
    other.model.head.num_classes = 9
    words = "classifier has 7 classes, and the teacher's 9; give in teacher.config, "
    with pytest.raises(ValueError, match=words + "model.head.num_classes=7"):
        MODELS.build(dict(files, config=other))


def test_zoo_weights_that_cannot_be_fetched_name_the_model_and_what_to_give(monkeypatch):
    def no_network(*args, **kwargs):
        raise OSError("no route")

    monkeypatch.setattr("aal_plugin.mm.models.mm_teacher.get_model", no_network)
    words = "MMPretrain's weights of 'resnet18_8xb16_cifar10' could not be fetched; give teacher.ch"
    with pytest.raises(ValueError, match=words):
        MODELS.build(dict(type="MMTeacher", config="resnet18_8xb16_cifar10", checkpoint=True))
