"""Any module as a teacher: torchvision classifiers, segmentation and detection backbones."""

import pytest
import torch
import torchvision
from mmengine.config import Config
from mmpretrain.registry import MODELS
from torchvision.models._utils import IntermediateLayerGetter

import aal_plugin.mm  # noqa: F401
from aal_plugin.core import FrozenTeacher
from aal_plugin.mm.configs.check import check_config
from aal_plugin.mm.configs.files import check_teacher
from tests.mm.small import AAL, batch, build, total

RESNET = dict(type="torchvision.models.resnet18", num_classes=5)
MEAN, STD = [123.675, 116.28, 103.53], [58.395, 57.12, 57.375]


@pytest.fixture
def file(tmp_path):
    """A ResNet-18 of one's own, saved as PyTorch's examples save it."""
    torch.manual_seed(0)
    model = torchvision.models.resnet18(num_classes=5).eval()
    torch.save(model.state_dict(), tmp_path / "own.pth")
    return model, str(tmp_path / "own.pth")


def teacher_of(**settings):
    return MODELS.build(dict(dict(type="ModuleTeacher", mean=MEAN, std=STD), **settings))


def test_a_torchvision_resnet_by_type_and_checkpoint(file):
    model, path = file
    teacher = teacher_of(model=RESNET, checkpoint=path, fold_norms=False)
    assert teacher.layers == ["layer1", "layer2", "layer3", "layer4"]
    images = torch.randn(2, 3, 64, 64)
    maps, logits = teacher(images, with_logits=True)
    x = model.maxpool(model.relu(model.bn1(model.conv1(images))))
    for level, stage in zip(maps, (model.layer1, model.layer2, model.layer3, model.layer4)):
        x = stage(x)
        torch.testing.assert_close(level, x, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(logits, model(images), rtol=1e-4, atol=1e-5)


def test_it_trains_a_student_and_stays_out_of_its_state_dict(file):
    _, path = file
    settings = dict(type="ModuleTeacher", model=RESNET, checkpoint=path, mean=MEAN, std=STD)
    aal = build(AAL, teacher=dict(settings, layers=["layer2", "layer4"]))
    seen = []
    aal.teacher.model.conv1.register_forward_pre_hook(lambda m, args: seen.append(args[0]))
    pixels = torch.randint(0, 256, (2, 3, 24, 24), dtype=torch.uint8)
    data = aal.data_preprocessor(dict(inputs=pixels, data_samples=batch(2)[1]), training=True)
    total(aal(**data, mode="loss")).backward()
    rgb = pixels.flip(1) if aal.data_preprocessor.to_rgb else pixels
    mean, std = (torch.tensor(values).view(3, 1, 1) for values in (MEAN, STD))
    torch.testing.assert_close(seen[0], (rgb - mean) / std, rtol=1e-4, atol=1e-4)
    assert not any("teacher" in key for key in aal.state_dict())
    assert all(parameter.grad is None for parameter in aal.teacher.parameters())


class Segmenter(torch.nn.Module):
    """As torchvision's: the backbone returns a dict."""

    def __init__(self):
        super().__init__()
        layers = dict(layer4="out", layer3="aux")
        self.backbone = IntermediateLayerGetter(torchvision.models.resnet18(), layers)
        self.classifier = torch.nn.Conv2d(512, 3, 1)

    def forward(self, images):
        return self.classifier(self.backbone(images)["out"]).mean((2, 3))


def test_a_segmentation_backbone_by_the_prefix_of_its_weights(tmp_path):
    torch.manual_seed(0)
    whole, path = Segmenter().double().eval(), str(tmp_path / "own.pth")
    torch.save(dict(model=whole.state_dict(), epoch=3), path)
    images = torch.randn(1, 3, 64, 64, dtype=torch.float64)
    given = dict(model=dict(type=Segmenter), checkpoint=path, fold_norms=False)
    outputs = teacher_of(**given, layers=["backbone[out]"])
    torch.testing.assert_close(outputs.double()(images)[0][0], whole.backbone(images)["out"])
    assert teacher_of(**given).layers[-1] == "backbone.layer4"
    words = r"'backbone' of Segmenter returns a dict with the keys \['aux', 'out'\]"
    with pytest.raises(ValueError, match=words):
        teacher_of(**given, layers=["backbone"])
    mms = dict(type="ResNetV1d", depth=18, strides=(1, 2, 1, 1), out_indices=(0, 1, 2, 3))
    own = MODELS.build(mms)
    state = {f"module.backbone.{k}": v for k, v in own.state_dict().items()}
    torch.save(dict(state_dict={**state, "module.decode_head.weight": torch.ones(2)}), path)
    given.update(model=mms)  # as a distributed run of MMSegmentation wrote it
    teacher = teacher_of(**given, checkpoint_prefix="backbone.")
    own.double().eval()
    for got, wanted in zip(teacher.double()(images)[0], own(images), strict=True):
        torch.testing.assert_close(got, wanted)
    with pytest.raises(ValueError, match="does not fit the teacher(?s:.*)fc.weight"):
        teacher_of(model=RESNET, checkpoint=path, checkpoint_prefix="backbone.")
    with pytest.raises(ValueError, match=r"no weight begins with .*'neck.'.*\['backbone.', 'deco"):
        teacher_of(**given, checkpoint_prefix="neck.")


def test_torchvisions_swin_is_transposed_and_its_vit_loses_its_class_token():
    torch.manual_seed(0)
    swin = torchvision.models.SwinTransformer([4, 4], 8, [1, 1], [1, 2], [4, 4]).double().eval()
    teacher = FrozenTeacher(swin, layers=["features.1", "features.3"], channels_last=False)
    images = torch.randn(2, 3, 64, 64, dtype=torch.float64)
    first = swin.features[:2](images)
    torch.testing.assert_close(teacher(images)[0][0], first.permute(0, 3, 1, 2))
    assert teacher.channels == [8, 16]
    vit = torchvision.models.VisionTransformer(64, 16, 5, 2, 16, 32).double().eval()
    own = FrozenTeacher(vit, input_size=(64, 64), channels_last=False)
    assert own.layers == [f"encoder.layers.encoder_layer_{block}" for block in (1, 2, 3, 4)]
    tokens = []
    vit.encoder.layers[-1].register_forward_hook(lambda m, args, out: tokens.append(out))
    got = own(images)[0][-1]
    vit(images)
    torch.testing.assert_close(got.flatten(2).mT, tokens[-1][:, 1:])


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        (dict(), "the teacher has no weights .* teacher.checkpoint=FILE"),
        (dict(model=dict(RESNET, weights="DEFAULT"), checkpoint="a.pth"), "weights='DEFAULT' load"),
        (dict(model=dict(type="torchvision.models.resnet81"), allow_random_weights=True),
         "teacher.model.type='torchvision.models.resnet81' could not be built"),
        (dict(model="resnet18", allow_random_weights=True), "teacher.model='resnet18'; give dict"),
        (dict(model=dict(type="math.sqrt"), allow_random_weights=True), "could not be built"),
        (dict(model=dict(type="collections.OrderedDict", a=1), allow_random_weights=True),
         "'collections.OrderedDict' returns a OrderedDict; expected a torch.nn.Module"),
    ],
)  # fmt: skip
def test_mistakes_name_the_key_and_what_is_allowed(settings, words):
    with pytest.raises(ValueError, match=words):
        teacher_of(**dict(dict(model=RESNET), **settings))


def test_the_config_check_finds_a_module_teachers_mistakes():
    def check(**settings):
        teacher = dict(dict(type="ModuleTeacher", model=RESNET), **settings)
        cfg = Config(dict(model=dict(type="AALClassifier", backbone={}, teacher=teacher)))
        check_config(cfg, lambda: check_teacher(teacher))

    with pytest.raises(ValueError, match="the teacher has no weights"):
        build(AAL, teacher=dict(type="ModuleTeacher", model=RESNET)).train()
    with pytest.raises(FileNotFoundError, match="teacher.checkpoint.*nowhere.pth.*no such file"):
        check(checkpoint="/nowhere.pth")
    with pytest.raises(ValueError, match="checkpoint_prefx.*did you mean 'checkpoint_prefix'"):
        check(allow_random_weights=True, checkpoint_prefx="backbone.")


def test_a_classifier_needs_none_of_the_weights_that_the_teacher_would_download(monkeypatch):
    monkeypatch.setattr(torch.hub, "load_state_dict_from_url", lambda *_, **__: pytest.fail("net"))
    own = dict(RESNET, weights="DEFAULT", num_classes=1000)
    build(AAL, teacher=dict(type="ModuleTeacher", model=own, pretrained=True)).eval()
