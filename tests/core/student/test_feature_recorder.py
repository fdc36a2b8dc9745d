import pytest
import timm
import torch
from torch import nn

from aal_plugin.core import FeatureRecorder


class Branches(nn.Module):
    """As HRNet's stages: a list of maps of several sizes."""

    num_branches = 3

    def __init__(self):
        super().__init__()
        self.convs = nn.ModuleList(nn.Conv2d(4, 4 + b, 1, stride=2**b) for b in range(3))

    def forward(self, maps):
        return [conv(maps) for conv in self.convs]


class Branched(nn.Module):
    def __init__(self):
        super().__init__()
        self.stem = nn.Conv2d(3, 4, 3, padding=1)
        self.stage4 = nn.Sequential(Branches())

    def forward(self, images):
        return sum(branch.mean() for branch in self.stage4(self.stem(images)))


@pytest.mark.parametrize("layers", [None, ["stage4[2]", "stem", "stage4[-2]"]])
def test_levels_are_the_entries_that_layers_name(layers):
    torch.manual_seed(0)
    student, images = Branched(), torch.randn(2, 3, 8, 12)
    stem = student.stem(images)
    entries = student.stage4(stem)
    recorder = FeatureRecorder(student, layers)
    recorder.start((8, 12))
    student(images)
    got = recorder.stop()
    expected = entries if layers is None else [entries[2], stem, entries[1]]
    for level, entry in zip(got, expected, strict=True):
        torch.testing.assert_close(level, entry)
    channels = recorder.channels(student, (8, 12))
    assert channels == [entry.shape[1] for entry in expected]


def test_an_entry_that_a_layer_lacks_is_named():
    student = Branched()
    recorder = FeatureRecorder(student, ["stage4[3]"])
    recorder.start((8, 8))
    student(torch.randn(1, 3, 8, 8))
    with pytest.raises(ValueError, match=r"layers: 'stage4\[3\]'.*has no item \[3\]"):
        recorder.stop()


def test_a_name_in_place_of_a_list_is_an_error():
    with pytest.raises(ValueError, match="layers='stem'; give a list of module nam"):
        FeatureRecorder(Branched(), "stem")


@pytest.mark.parametrize("images", [1, 4])
def test_channels_of_levels_are_found_with_images_that_are_not_rgb(images):
    student = timm.create_model("test_vit", in_chans=images)
    assert FeatureRecorder(student).channels(student, (160, 160)) == [64] * 6


def test_finding_channels_leaves_modes_and_running_statistics_as_they_were():
    class Prepared(nn.BatchNorm2d):
        """As LeViT: what evaluation needs is made by eval()."""

        def train(self, mode=True):
            self.ready = not mode
            return super().train(mode)

        def forward(self, maps):
            assert self.ready
            return super().forward(maps)

    student = Branched().train()
    student.stem = nn.Sequential(nn.Conv2d(3, 4, 3, padding=1), Prepared(4))
    student.stage4.eval()  # frozen
    modes = {module: module.training for module in student.modules()}
    FeatureRecorder(student, ["stem"]).channels(student, (8, 8))
    assert {module: module.training for module in student.modules()} == modes
    assert student.stem[1].num_batches_tracked == 0
