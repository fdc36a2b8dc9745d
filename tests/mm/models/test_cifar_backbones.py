"""WRN and NIN against a few lines of plain operations after the papers, in float64."""

import math

import pytest
import torch
import torch.nn.functional as F
from mmengine.logging import MMLogger
from mmpretrain.registry import MODELS
from torch import nn

import aal_plugin.mm  # noqa: F401


def build(**backbone):
    """A backbone in training, in float64, with batch norms that do something."""
    MMLogger.get_current_instance().setLevel("ERROR")
    torch.manual_seed(0)
    model = MODELS.build(backbone)
    model.init_weights()
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            nn.init.normal_(module.bias)
    model.train()
    return model.double()


def images(size=2, side=32):
    return torch.randn(size, 3, side, side, generator=torch.Generator().manual_seed(1)).double()


def normal(x, norm):
    """Batch norm by its definition, over batch and positions."""
    mean = x.mean(dim=(0, 2, 3), keepdim=True)
    std = (x.var(dim=(0, 2, 3), keepdim=True, correction=0) + 1e-5).sqrt()
    return (x - mean) / std * norm.weight.view(1, -1, 1, 1) + norm.bias.view(1, -1, 1, 1)


def convolutions(module):
    return iter([m for m in module.modules() if isinstance(m, nn.Conv2d)])


def wide_resnet(model, x, depth, k):
    """Wide Residual Networks, section 2: BN-ReLU-conv twice, in three groups of (d - 4) / 6."""
    kept = {name: m for name, m in model.named_modules()}
    x, groups = F.conv2d(x, kept["conv1"].weight, padding=1), []
    for group, width in enumerate((16 * k, 32 * k, 64 * k), start=1):
        for block in range((depth - 4) // 6):
            part = f"layer{group}.{block}."
            stride = 2 if block == 0 and group > 1 else 1
            active = normal(x, kept[part + "norm1"]).clamp(min=0)
            if x.shape[1] != width:
                x = F.conv2d(active, kept[part + "shortcut"].weight, stride=stride)
            y = F.conv2d(active, kept[part + "conv1"].weight, stride=stride, padding=1)
            y = normal(y, kept[part + "norm2"]).clamp(min=0)
            x = x + F.conv2d(y, kept[part + "conv2"].weight, padding=1)
        groups.append(x)
    return groups, normal(x, kept["norm"]).clamp(min=0)


def halves(x):
    """The largest of each 2 × 2 pixels."""
    return x.unflatten(3, (-1, 2)).amax(4).unflatten(2, (-1, 2)).amax(3)


def network_in_network(model, x, batch_norm, last_relu):
    """Three groups of convolutions 3×3, 1×1, 1×1 (section 3.1), with pooling between them."""
    groups = []
    for group in (1, 2, 3):
        layer = getattr(model, f"layer{group}")
        norms = iter([m for m in layer if isinstance(m, nn.BatchNorm2d)])
        for index, conv in enumerate(convolutions(layer)):
            x = F.conv2d(x, conv.weight, conv.bias, padding=1 if index == 0 else 0)
            x = normal(x, next(norms)) if batch_norm else x
            x = x.clamp(min=0) if index < 2 or last_relu else x
        groups.append(x)
        x = halves(x) if group < 3 else x
    return groups, x


def recorded(model, x):
    """Outputs of the three groups, and of the backbone."""
    groups = []
    hooks = [
        getattr(model, f"layer{i}").register_forward_hook(lambda m, a, out: groups.append(out))
        for i in (1, 2, 3)
    ]
    (out,) = model(x)
    for hook in hooks:
        hook.remove()
    return groups, out


@pytest.mark.parametrize(("depth", "k"), [(16, 1), (16, 2), (22, 1)])
def test_wide_resnet_is_the_papers(depth, k):
    model = build(type="WideResNet", depth=depth, widen_factor=k)
    groups, out = recorded(model, images())
    wanted, last = wide_resnet(model, images(), depth, k)
    for ours, theirs in zip([*groups, out], [*wanted, last]):
        torch.testing.assert_close(ours, theirs, atol=1e-9, rtol=1e-9)
    assert [tuple(g.shape[1:]) for g in groups] == [
        (16 * k, 32, 32),
        (32 * k, 16, 16),
        (64 * k, 8, 8),
    ]


@pytest.mark.parametrize(
    ("settings", "batch_norm", "last_relu"),
    [
        (dict(), True, True),
        (dict(batch_norm=False), False, False),
        (dict(relu_before_pooling=False), True, False),
        (dict(batch_norm=False, relu_before_pooling=True), False, True),
    ],
)
def test_network_in_network_is_the_papers(settings, batch_norm, last_relu):
    model = build(type="NetworkInNetwork", width=8, **settings)
    groups, out = recorded(model, images())
    wanted, last = network_in_network(model, images(), batch_norm, last_relu)
    for ours, theirs in zip([*groups, out], [*wanted, last]):
        torch.testing.assert_close(ours, theirs, atol=1e-9, rtol=1e-9)
    assert out.shape[-2:] == (8, 8)


@pytest.mark.parametrize(
    ("backbone", "millions"),
    [
        (dict(type="WideResNet", depth=16, widen_factor=1), 0.2),
        (dict(type="WideResNet", depth=16, widen_factor=2), 0.7),
        (dict(type="WideResNet", depth=40, widen_factor=1), 0.6),
        (dict(type="WideResNet", depth=40, widen_factor=2), 2.2),
        (dict(type="NetworkInNetwork", width=96), 0.2),
        (dict(type="NetworkInNetwork", width=208), 1.0),
    ],
)
def test_parameters_are_as_many_as_table_1_says(backbone, millions):
    count = sum(p.numel() for p in MODELS.build(backbone).parameters())
    assert round(count / 1e6, 1) == millions


@pytest.mark.parametrize(
    "backbone", [dict(type="WideResNet", depth=16), dict(type="NetworkInNetwork", width=96)]
)
def test_weights_start_as_in_the_published_code(backbone):
    """utils.py: normal of variance 2 / fan-in for convolutions, scales of U(0, 1) for norms."""
    MMLogger.get_current_instance().setLevel("ERROR")
    torch.manual_seed(0)
    model = MODELS.build(backbone)
    model.init_weights()
    for module in model.modules():
        if isinstance(module, nn.Conv2d):
            inputs = module.weight[0].numel()
            drawn = module.weight.flatten() * math.sqrt(inputs / 2)
            # A standard deviation of n normal numbers strays by 1/√(2n); five of these.
            assert drawn.std().item() == pytest.approx(1, abs=5 / math.sqrt(2 * len(drawn)))
        if isinstance(module, nn.BatchNorm2d):
            assert module.weight.min() >= 0 and module.weight.max() <= 1
            assert not module.bias.any()
    scales = torch.cat([m.weight for m in model.modules() if isinstance(m, nn.BatchNorm2d)])
    assert scales.mean().item() == pytest.approx(0.5, abs=0.06)
    assert scales.std().item() == pytest.approx(12**-0.5, abs=0.04)


@pytest.mark.parametrize("depth", [4, 15, 17])
def test_depths_that_wrn_lacks_are_told(depth):
    with pytest.raises(ValueError, match=f"backbone.depth={depth}; choose 10, 16"):
        MODELS.build(dict(type="WideResNet", depth=depth))
