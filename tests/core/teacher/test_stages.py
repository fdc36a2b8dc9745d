"""Which modules are a model's levels, and their maps as (B, C, h, w), against timm's account."""

import pytest
import timm
import torch
from torch import nn

from aal_plugin.core import FrozenTeacher
from aal_plugin.core.layer_maps import as_map
from aal_plugin.core.layer_names import check_names, default_layers
from aal_plugin.core.student.feature_recorder import FeatureRecorder

# What timm's feature_info calls channels is the second source; sizes that keep the test short.
SWIN = dict(embed_dim=8, depths=(1, 1, 1, 1), num_heads=(1, 2, 2, 4), window_size=4, img_size=64)
MODELS = {
    "swin_tiny_patch4_window7_224": SWIN,
    "swinv2_tiny_window8_256": SWIN,
    "mambaout_femto": dict(depths=(1, 1, 1, 1), dims=(8, 16, 24, 40)),
    "convnext_atto": dict(depths=(1, 1, 1, 1), dims=(8, 16, 24, 40)),
    "resnet18": {},
    "regnetx_002": {},
    "test_efficientnet": {},
}


def small(name):
    torch.manual_seed(0)
    return timm.create_model(name, num_classes=3, **MODELS.get(name, {})).eval()


@pytest.mark.parametrize("name", MODELS)
def test_channels_and_maps_are_those_of_timms_feature_info(name):
    model = small(name)
    told = {info["module"]: info for info in model.feature_info}
    teacher = FrozenTeacher(model, fold_norms=False, input_size=(64, 64))
    known = [level for level, layer in enumerate(teacher.layers) if layer in told]
    assert len(known) >= 3
    images = torch.randn(2, 3, 64, 64)
    maps, _ = teacher(images)
    for level in known:
        info = told[teacher.layers[level]]
        side = -(-64 // info["reduction"])
        assert teacher.channels[level] == info["num_chs"]
        assert maps[level].shape == (2, info["num_chs"], side, side)


def test_lists_of_a_map_and_its_skip_are_read_as_timm_reads_them():
    model = timm.create_model("selecsls42", num_classes=3).double().eval()
    extractor = timm.create_model("selecsls42", features_only=True).double().eval()
    own = {name.replace(".", "_"): module for name, module in model.named_modules()}
    for name, module in extractor.named_children():  # `features.2` is `features_2` there
        module.load_state_dict(own[name].state_dict())
    images = torch.randn(2, 3, 64, 64, dtype=torch.float64)
    teacher = FrozenTeacher(model, extractor.feature_info.module_name(), fold_norms=False)
    assert teacher.channels == extractor.feature_info.channels()
    for got, wanted in zip(teacher(images)[0], extractor(images)):
        torch.testing.assert_close(got, wanted)


def test_students_with_channels_last_are_read_likewise():
    model = small("mambaout_femto")
    recorder = FeatureRecorder(model)
    assert recorder.channels(model, (64, 96)) == [info["num_chs"] for info in model.feature_info]
    recorder.start((64, 96))
    model(torch.randn(1, 3, 64, 96))
    assert [tuple(level.shape[2:]) for level in recorder.stop()][:2] == [(16, 24), (8, 12)]


class ChannelsLast(nn.Module):
    """A stage that answers in (B, h, w, C), and does not say so."""

    def __init__(self):
        super().__init__()
        self.layer1, self.layer2 = nn.Conv2d(3, 5, 4, 4), nn.Identity()

    def forward(self, x):
        return self.layer2(self.layer1(x).permute(0, 2, 3, 1)).mean((1, 2))


def test_a_teachers_channels_last_are_found_from_the_grid_and_a_students_are_an_error():
    model = ChannelsLast().double()
    teacher = FrozenTeacher(model)
    assert teacher.channels == [5, 5]
    images = torch.randn(2, 3, 20, 20, dtype=torch.float64)  # a grid of 5 × 5: 5 channels too
    for level in teacher(images)[0]:
        torch.testing.assert_close(level, model.layer1(images))
    student = ChannelsLast()
    words = r"layers: 'layer2' of ChannelsLast returns.*expected \(B, C, h, w\)"
    with pytest.raises(ValueError, match=words):
        FeatureRecorder(student).channels(student, (64, 64))


class ConvModule(nn.Conv2d):
    """By its name one of MMCV's, as MMPretrain's CNNs have them for stem and head."""


def test_stages_begin_after_the_stem_and_end_before_the_head_and_where_channels_change():
    def block(given, wanted):
        return nn.Sequential(nn.Conv2d(given, 9, 1), nn.Conv2d(9, wanted, 1))

    class Net(nn.Module):
        def __init__(self, *layers):
            super().__init__()
            self.layers = nn.ModuleList(layers)

    one, two = nn.Sequential(block(4, 6), block(6, 6)), nn.Sequential(block(6, 8), block(8, 10))
    three = nn.Sequential(block(10, 8), block(8, 8), block(8, 7), block(7, 7))
    stem, head = ConvModule(3, 4, 1), ConvModule(7, 20, 1)
    assert default_layers(Net(stem, one, two, three, head)) == [
        f"layers.{stage}" for stage in ("1", "2.0", "2", "3.1", "3")
    ]
    assert default_layers(Net(one, two, head)) == ["layers.0", "layers.1.0", "layers.1"]
    # Nothing tells a plain list's stem from its stages, and stages are left whole there.
    assert default_layers(Net(one, two)) == ["layers.0", "layers.1"]
    assert default_layers(Net(stem, head)) == ["layers.0", "layers.1"]


@pytest.mark.parametrize(
    ("shape", "size", "fmt", "channels"),
    [
        ((1, 7, 10, 64), (224, 320), "NHWC", 64),
        ((1, 64, 7, 10), (224, 320), "NCHW", 64),
        ((1, 64, 7, 10), (224, 320), "NHWC", 64),  # a convolution below a model of that format
        ((1, 8, 8, 8), (64, 64), "NHWC", 8),
        ((1, 8, 1, 1), (32, 32), "NCHW", 8),
        ((1, 1, 1, 8), (32, 32), "NHWC", 8),
        ((1, 6, 10, 7), (300, 200), "NCHW", 6),  # rounded up: 9.4 × 6.3
    ],
)
def test_channels_are_told_from_the_grid_by_the_images_ratio(shape, size, fmt, channels):
    assert as_map(torch.zeros(shape), fmt, size, "layer").shape[1] == channels


@pytest.mark.parametrize(
    ("names", "words"),
    [
        ([], r"teacher.layers=\[\]; give a list of module names"),
        (["a", "b", "a"], r"teacher.layers=\['a', 'b', 'a'\] lists \['a'\] more than once"),
        ("layer1", "teacher.layers='layer1'; give a list of module names"),
        ([1], r"teacher.layers=\[1\] has an entry that is not a string"),
        (3, "teacher.layers=3; give a list"),
    ],
)
def test_names_that_are_no_list_of_names_are_refused(names, words):
    with pytest.raises(ValueError, match=words):
        check_names(names, "teacher.layers")
