import pytest
import torch
from mmengine.config import Config
from mmengine.runner import CheckpointLoader
from mmpretrain import get_model
from mmpretrain.apis.model import ModelHub
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
    words = "teacher.config='nowhere.py' is neither a file in /.* nor a name"
    with pytest.raises(FileNotFoundError, match=words):
        MODELS.build(dict(files, config="nowhere.py"))
    with pytest.raises(FileNotFoundError, match="teacher.checkpoint='nowhere.pth': no such file"):
        MODELS.build(dict(files, checkpoint="nowhere.pth"))
    with pytest.raises(ValueError, match="the teacher has no weights"):
        MODELS.build(dict(files, checkpoint=None))


@pytest.mark.parametrize(
    ("arch", "channels", "strides"),
    [
        ("b0", [16, 24, 40, 80, 112, 192, 320], [2, 4, 8, 16, 16, 32, 32]),
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


ZOO = "resnet18_8xb16_cifar10"


@pytest.fixture
def zoo(monkeypatch, tmp_path):
    """The zoo's ResNet-18 with its weights in a local file in the place of a download."""
    path = tmp_path / "published.pth"
    ModelHub.get(ZOO)
    monkeypatch.setattr(ModelHub._models_dict[ZOO], "weights", str(path))
    torch.manual_seed(3)
    model = get_model(ZOO)

    def publish(**changes):
        torch.save(dict(meta={}, state_dict={**model.state_dict(), **changes}), path)
        return model

    return publish


def test_a_name_of_the_zoo_is_built_with_its_published_weights(zoo):
    model = zoo()
    teacher = MODELS.build(dict(type="MMTeacher", config=ZOO, checkpoint=True, fold_norms=False))
    assert teacher.layers == [f"backbone.layer{i}" for i in (1, 2, 3, 4)]
    assert teacher.channels == [64, 128, 256, 512] and teacher.name == ZOO
    for key, tensor in teacher.model.state_dict().items():
        assert torch.equal(tensor, model.state_dict()[key]), key
    images = torch.randn(1, 3, 64, 64)
    maps, logits = teacher(images, with_logits=True)
    torch.testing.assert_close(maps[-1], model.eval().backbone(images)[-1], rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(logits, model.head.fc(model.extract_feat(images)[-1]))


def test_published_weights_that_do_not_fit_are_an_error_and_not_a_random_teacher(zoo):
    """MMEngine's own loader says so in the log alone, and goes on with random weights."""
    teacher = dict(type="MMTeacher", config=ZOO, checkpoint=True)
    model = zoo(**{"backbone.conv1.weight": torch.zeros(1)})
    with pytest.raises(
        ValueError, match="weights at .*published.pth do not fit 'resnet18(?s:.*)conv1"
    ):
        MODELS.build(teacher)
    path = ModelHub._models_dict[ZOO].weights
    state = {k: v for k, v in model.state_dict().items() if not k.startswith("backbone.layer3")}
    torch.save(dict(state_dict=state), path)
    with pytest.raises(ValueError, match="do not fit(?s:.*)Missing key.*backbone.layer3.0"):
        MODELS.build(teacher)
    zoo(extra=torch.zeros(1))  # an average or a loss of the training
    MODELS.build(teacher)
    ModelHub._models_dict[ZOO].weights = None
    with pytest.raises(ValueError, match="MMPretrain publishes no weights for 'resnet18"):
        MODELS.build(teacher)


def test_zoo_weights_that_cannot_be_fetched_name_the_model_and_what_to_give(monkeypatch):
    def no_network(*args, **kwargs):
        raise OSError("no route")

    monkeypatch.setattr(CheckpointLoader, "load_checkpoint", no_network)
    words = (
        "weights for 'resnet18_8xb16_cifar10' could not be downloaded from http.*give teacher.ch"
    )
    with pytest.raises(ValueError, match=words):
        MODELS.build(dict(type="MMTeacher", config="resnet18_8xb16_cifar10", checkpoint=True))


VIT = dict(
    type="VisionTransformer",
    arch=dict(embed_dims=32, num_layers=8, num_heads=2, feedforward_channels=64),
    img_size=(64, 96),
    patch_size=16,
)
SWIN = dict(
    type="SwinTransformer",
    arch=dict(embed_dims=8, depths=[1, 2, 2, 1], num_heads=[1, 2, 2, 4]),
    img_size=64,
    window_size=2,
)


def mm_teacher(backbone, **options):
    model = dict(type="ImageClassifier", backbone=backbone, head=dict(type="ClsHead"))
    config = Config(dict(model=model, default_scope="mmpretrain"))
    torch.manual_seed(0)
    options = dict(config=config, allow_random_weights=True, channels_last=False, **options)
    return MODELS.build(dict(type="MMTeacher", **options)).double()


@pytest.mark.parametrize(
    ("backbone", "layers"),
    [
        (VIT, [1, 3, 5, 7]),
        (dict(VIT, type="BEiTViT", final_norm=False), [1, 3, 5, 7]),
        (dict(VIT, type="DeiT3"), [1, 3, 5, 7]),
        (
            dict(type="MlpMixer", arch=dict(embed_dims=32, num_layers=6, tokens_mlp_dims=8,
                 channels_mlp_dims=16), img_size=(64, 96), patch_size=16),
            [1, 2, 4, 5],
        ),
    ],
)  # fmt: skip
def test_a_vits_levels_are_the_maps_of_mmpretrains_own_extraction(backbone, layers):
    teacher = mm_teacher(backbone)
    assert teacher.layers == [f"backbone.layers.{index}" for index in layers]
    images = torch.randn(2, 3, 64, 96, dtype=torch.float64)
    maps, _ = teacher(images)
    if "MlpMixer" in backbone["type"]:
        tokens = own_tokens(teacher.model.backbone, images)
        expected = [tokens[index].mT.unflatten(-1, (4, 6)) for index in layers]
    else:
        own = dict(backbone, final_norm=False, out_type="featmap", out_indices=layers)
        expected = own_backbone(own, teacher)(images)
    for got, wanted in zip(maps, expected, strict=True):
        assert got.shape == (2, 32, 4, 6)
        torch.testing.assert_close(got, wanted)


def own_backbone(config, teacher):
    """MMPretrain's backbone with the teacher's weights, whose outputs are of its own making."""
    backbone = MODELS.build(config).double()
    backbone.load_state_dict(teacher.model.backbone.state_dict(), strict=False)
    backbone.eval()
    return backbone


def own_tokens(mixer, images):
    x, tokens = mixer.patch_embed(images)[0], []
    for layer in mixer.layers:
        x = layer(x)
        tokens.append(x)
    return tokens


def test_swins_levels_are_its_stages_ahead_of_their_downsampling():
    teacher = mm_teacher(SWIN)
    assert teacher.layers == [
        "backbone.stages.0.blocks.0",
        "backbone.stages.1.blocks.1",
        "backbone.stages.2.blocks.1",
        "backbone.stages.3",
    ]
    own = own_backbone(dict(SWIN, out_indices=(0, 1, 2, 3)), teacher)
    for norm in range(4):
        setattr(own, f"norm{norm}", torch.nn.Identity())
    images = torch.randn(2, 3, 64, 64, dtype=torch.float64)
    for got, wanted in zip(teacher(images)[0], own(images), strict=True):
        torch.testing.assert_close(got, wanted)


def test_convnext_and_hrnet_have_their_stages_and_branches():
    arch = dict(depths=[1, 1, 1, 1], channels=[8, 16, 24, 32])
    teacher = mm_teacher(dict(type="ConvNeXt", arch=arch))
    assert teacher.channels == [8, 16, 24, 32]
    hrnet = mm_teacher(dict(type="HRNet", arch="w18"), fold_norms=False)
    assert hrnet.layers == [f"backbone.stage4[{branch}]" for branch in range(4)]
    assert hrnet.channels == [18, 36, 72, 144]
    images = torch.randn(1, 3, 64, 64, dtype=torch.float64)
    own = own_backbone(dict(type="HRNet", arch="w18"), hrnet)
    for got, wanted in zip(hrnet(images)[0], own(images), strict=True):
        torch.testing.assert_close(got, wanted)
