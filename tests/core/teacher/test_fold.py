import copy

import pytest
import timm
import torch
from torch import nn

from aal_plugin.core import FrozenTeacher
from aal_plugin.core.teacher.fold import fold_batch_norms


def with_statistics(model, seed=0):
    """Norms that do something: a fresh one is the identity."""
    generator = torch.Generator().manual_seed(seed)
    for module in model.modules():
        if getattr(module, "running_var", None) is not None:
            module.running_var.uniform_(0.5, 2, generator=generator)
            module.running_mean.normal_(generator=generator)
            if module.weight is not None:
                module.weight.data.uniform_(0.5, 1.5, generator=generator)
                module.bias.data.normal_(generator=generator)
    return model.eval()


def norms(model):
    return sum(isinstance(module, nn.modules.batchnorm._BatchNorm) for module in model.modules())


def check(model, images, folded):
    """Fold, and compare the output with that before."""
    with torch.no_grad():
        expected = model(images)
        assert fold_batch_norms(model, lambda: [model(images)]) == folded
        torch.testing.assert_close(model(images), expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    ("name", "left"),
    [
        ("test_resnet", 0),
        ("test_efficientnet", 0),  # norm and activation in one module
        ("tf_efficientnetv2_b0", 0),  # convolutions that pad by themselves
        ("regnety_002", 0),
        ("densenet121", 62),  # norms after a concatenation stay
        ("repvgg_a0", 17),  # norms on an identity branch stay
    ],
)
def test_levels_and_logits_are_unchanged(name, left):
    images = torch.randn(2, 3, 64, 64, generator=torch.Generator().manual_seed(1))
    torch.manual_seed(0)
    plain = with_statistics(timm.create_model(name, num_classes=7))
    torch.manual_seed(0)
    folded = with_statistics(timm.create_model(name, num_classes=7))
    slow = FrozenTeacher(plain, fold_norms=False, channels_last=False)
    fast = FrozenTeacher(folded, copy_model=False)
    assert norms(folded) == left
    for got, expected in zip(*(t(images, with_logits=True)[0] for t in (fast, slow))):
        scale = expected.abs().max()
        torch.testing.assert_close(got / scale, expected / scale, rtol=0, atol=5e-5)
    torch.testing.assert_close(
        fast(images, with_logits=True)[1], slow(images, with_logits=True)[1], rtol=1e-3, atol=1e-4
    )


def test_names_beside_and_below_a_folded_norm_stay():
    model = with_statistics(timm.create_model("test_efficientnet"))
    names = [name for name, _ in model.named_modules()]
    fold_batch_norms(model, lambda: [model(torch.randn(1, 3, 32, 32))])
    assert norms(model) == 0
    assert [name for name, _ in model.named_modules()] == names


def test_a_recorded_norm_is_folded_and_a_recorded_convolution_is_not():
    images = torch.randn(2, 3, 32, 32)
    for layer, left in (("bn1", 0), ("layer1.0.bn1", 0), ("layer1.0.conv2", 1), ("conv1.0", 1)):
        model = with_statistics(timm.create_model("resnet10t"))
        slow = FrozenTeacher(copy.deepcopy(model), [layer], fold_norms=False)
        fast = FrozenTeacher(model, [layer], copy_model=False)
        assert norms(model) == left
        got, expected = fast(images)[0][0], slow(images)[0][0]
        torch.testing.assert_close(got, expected, rtol=1e-4, atol=1e-4)


def test_what_others_read_or_what_runs_twice_is_left_alone():
    class Skip(nn.Module):
        def __init__(self):
            super().__init__()
            self.conv, self.norm = nn.Conv2d(3, 3, 1), nn.BatchNorm2d(3)

        def forward(self, x):
            y = self.conv(x)
            return self.norm(y) + y

    class Twice(Skip):
        def forward(self, x):
            return self.norm(self.conv(self.norm(self.conv(x))))

    class InPlace(Skip):
        def forward(self, x):
            return self.norm(self.conv(x).relu_())

    for kind in (Skip, Twice, InPlace):
        torch.manual_seed(0)
        check(with_statistics(kind()), torch.randn(2, 3, 4, 4), folded=0)


def test_bias_and_norms_without_weights_or_statistics():
    images = torch.randn(2, 3, 8, 8)
    bare = nn.BatchNorm2d(4, affine=False)
    check(with_statistics(nn.Sequential(nn.Conv2d(3, 4, 3), bare)), images, folded=1)
    check(
        with_statistics(nn.Sequential(nn.Conv2d(3, 4, 3, bias=False), nn.BatchNorm2d(4))),
        images,
        folded=1,
    )
    batchwise = nn.BatchNorm2d(4, track_running_stats=False)
    check(nn.Sequential(nn.Conv2d(3, 4, 3), batchwise).eval(), images, folded=0)


def test_a_parametrised_weight_is_left_alone():
    conv = nn.utils.parametrizations.weight_norm(nn.Conv2d(3, 4, 3))
    check(with_statistics(nn.Sequential(conv, nn.BatchNorm2d(4))), torch.randn(2, 3, 8, 8), 0)
