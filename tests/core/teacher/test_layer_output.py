"""What layers return, read as (B, C, h, w) maps."""

import pytest
import timm
import torch
from torch import nn

from aal_plugin.core import FrozenTeacher
from aal_plugin.core.layer_maps import as_map, prefix_tokens


@pytest.mark.parametrize("size", [(224, 224), (64, 96), (96, 64), (160, 32)])
@pytest.mark.parametrize("prefix", [0, 1, 2, 5])
def test_tokens_return_to_their_places_without_prefix_tokens(size, prefix):
    height, width = size[0] // 16, size[1] // 16
    maps = torch.randn(2, 3, height, width, dtype=torch.float64)
    tokens = torch.empty(2, prefix + height * width, 3, dtype=torch.float64).fill_(9.0)
    for row in range(height):
        for column in range(width):
            tokens[:, prefix + row * width + column] = maps[:, :, row, column]
    assert torch.equal(as_map(tokens, "NCHW", size, "layer", prefix), maps)
    assert torch.equal(as_map(tokens, "NCHW", size, "layer"), maps)


def test_a_stated_number_of_prefix_tokens_is_used_only_if_the_others_fill_a_grid():
    tokens = torch.zeros(1, 196, 8)
    assert prefix_tokens(tokens, (224, 224), 1) == 0
    assert prefix_tokens(torch.zeros(1, 9, 8), (32, 32), 5) == 5  # 2 × 2, not 3 × 3
    assert prefix_tokens(torch.zeros(1, 9, 8), (32, 32)) == 0
    assert prefix_tokens(torch.zeros(1, 8, 4, 4), (32, 32), 1) is None
    assert prefix_tokens(torch.zeros(1, 14 * 18, 8), (224, 300)) == 0  # 18.75 patches a row
    assert prefix_tokens(torch.zeros(1, 1 + 14 * 18, 8), (224, 300)) == 1


@pytest.mark.parametrize(
    ("output", "words"),
    [
        (torch.zeros(1, 1000), r"'fc' returns \(1, 1000\); expected .*Choose a layer ahead of"),
        (
            torch.zeros(1, 1000, 8),
            r"its 1000 tokens are not a grid of patches of an image of 64×64",
        ),
        (None, "'fc' returns a NoneType; expected"),
        ([], "'fc' returns a list of 0"),
        ((torch.zeros(2), 3), r"'fc' returns a tuple of 2: \(2,\), a int; expected"),
        ({"out": 1}, r"returns a dict with the keys \['out'\]"),
    ],
)
def test_outputs_that_are_no_maps_say_what_to_choose(output, words):
    with pytest.raises(ValueError, match=words):
        as_map(output, "NCHW", (64, 64), "'fc'")


class Branches(nn.Module):
    """Returns a list, a dict and a tuple of what its stages compute."""

    def __init__(self):
        super().__init__()
        self.one, self.two = nn.Conv2d(3, 4, 2, 2), nn.Conv2d(4, 6, 2, 2)
        self.listed, self.keyed, self.paired = Listed(), Keyed(), Paired()

    def forward(self, x):
        first = self.one(x)
        second = self.two(first)
        self.keyed(first, second)
        self.paired(first, second)
        return self.listed(first, second)


class Listed(nn.Module):
    def forward(self, *maps):
        return list(maps)


class Keyed(nn.Module):
    def forward(self, *maps):
        return dict(high=maps[0], low=maps[1])


class Paired(nn.Module):
    def forward(self, *maps):
        return maps[1].flatten(2).mT, (8, 8), None


def test_items_of_lists_dicts_and_tuples_are_levels():
    model = Branches().double()
    layers = ["listed[1]", "keyed[high]", "[0]", "paired", "listed[-1]", "keyed[1]", "paired[0]"]
    teacher = FrozenTeacher(model, layers, channels_last=False)
    images = torch.randn(2, 3, 32, 32, dtype=torch.float64)
    first = model.one(images)
    second = model.two(first)
    wanted = [second, first, first, second, second, second, second]
    for got, expected in zip(teacher(images)[0], wanted, strict=True):
        torch.testing.assert_close(got, expected)


@pytest.mark.parametrize(
    ("layer", "words"),
    [
        ("listed[2]", r"'listed\[2\]' of Branches has no item \[2\]; it returns a list of 2"),
        ("keyed", r"'keyed' of Branches returns a dict with the keys \['high', 'low'\]"),
        ("keyed[mid]", r"has no item \[mid\]; it returns a dict with the keys"),
        ("one[0]", r"has no item \[0\]; it returns \(1, 4, 112, 112\)"),
        ("three[0]", "Branches has no module 'three'"),
    ],
)  # fmt: skip
def test_items_that_do_not_exist_list_those_that_do(layer, words):
    with pytest.raises(ValueError, match=words):
        FrozenTeacher(Branches(), [layer])


def test_hrnets_levels_are_the_branches_of_its_last_stage():
    torch.manual_seed(0)
    model = timm.create_model("hrnet_w18_small", num_classes=3).double().eval()
    teacher = FrozenTeacher(model, fold_norms=False, channels_last=False, input_size=(64, 64))
    assert teacher.layers == [f"stage4[{branch}]" for branch in range(4)]
    images = torch.randn(1, 3, 64, 64, dtype=torch.float64)
    x = model.act2(model.bn2(model.conv2(model.act1(model.bn1(model.conv1(images))))))
    for got, expected in zip(teacher(images)[0], model.stages(x), strict=True):
        torch.testing.assert_close(got, expected)


def test_tokens_ahead_of_the_batch_are_an_error():
    class SequenceFirst(nn.Module):
        def __init__(self):
            super().__init__()
            self.blocks = nn.ModuleList([nn.Linear(3, 3), nn.Linear(3, 3)])

        def forward(self, x):
            x = x.flatten(2).permute(2, 0, 1)  # (T, B, C)
            return self.blocks[1](self.blocks[0](x)).mean(0)

    with pytest.raises(ValueError, match="returns 256 maps for 1 images; expected the batch as"):
        FrozenTeacher(SequenceFirst(), input_size=(16, 16))


def test_a_number_of_prefix_tokens_of_ones_own_is_kept_to():
    class Registers(nn.Module):
        def __init__(self):
            super().__init__()
            self.patch, self.blocks = nn.Conv2d(3, 4, 16, 16), nn.ModuleList([nn.Identity()])

        def forward(self, x):
            patches = self.patch(x).flatten(2).mT
            tokens = torch.cat([patches.new_full((len(x), 5, 4), 7.0), patches], 1)
            return self.blocks[0](tokens).mean(1)

    images = torch.randn(1, 3, 32, 32)
    model = Registers()
    told = FrozenTeacher(model, input_size=(32, 32), num_prefix_tokens=5)
    torch.testing.assert_close(told(images)[0][0], model.patch(images))
    with pytest.raises(ValueError, match="9 tokens are not 4 prefix tokens and a grid of patches"):
        FrozenTeacher(model, input_size=(32, 32), num_prefix_tokens=4)
