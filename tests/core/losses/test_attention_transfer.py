import math

import pytest
import torch
from torch import nn

from aal_plugin.core.losses.attention_transfer import (
    attention_map,
    attention_transfer,
    half_norm,
    hint_distance,
    input_gradient,
)


def features(*shape, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(*shape, generator=generator, dtype=torch.float64)


@pytest.mark.parametrize(("kind", "power"), [("sum", 1), ("sum", 2), ("sum", 4), ("max", 1)])
def test_attention_map_equals_the_loops(kind, power):
    maps = features(2, 5, 3, 4)
    got = attention_map(maps, kind, power)
    for b in range(2):
        for y in range(3):
            for x in range(4):
                powers = [abs(maps[b, c, y, x].item()) ** power for c in range(5)]
                wanted = sum(powers) if kind == "sum" else max(powers)
                assert got[b, y, x].item() == pytest.approx(wanted)


def unit(values):
    norm = math.sqrt(sum(v * v for v in values))
    return [v / norm for v in values]


@pytest.mark.parametrize("reduction", ["mean", "paper"])
def test_attention_transfer_equals_the_loops(reduction):
    student, teacher = features(3, 2, 4), features(3, 2, 4, seed=1)
    gaps = []
    for q_s, q_t in zip(student.flatten(1).tolist(), teacher.flatten(1).tolist()):
        gaps.append([a - b for a, b in zip(unit(q_s), unit(q_t))])
    if reduction == "mean":
        wanted = sum(g * g for gap in gaps for g in gap) / (3 * 8)
    else:
        wanted = sum(0.5 * math.sqrt(sum(g * g for g in gap)) for gap in gaps) / 3
    assert attention_transfer(student, teacher, reduction).item() == pytest.approx(wanted)


@pytest.mark.parametrize("scale", [1e-2, 1e-4, 1e-5])
@pytest.mark.parametrize("power", [1, 2])
def test_small_features_transfer_like_large_ones(scale, power):
    """The authors' floor under a norm is 1e-12: at 1e-6 the second loss below was three times
    too large, since maps of squares of 1e-4 were no longer divided by their norm.
    """
    student, teacher = features(2, 4, 3, 3), features(2, 4, 3, 3, seed=1)
    gaps = []
    for a, b in zip(student, teacher):
        maps = [(x.abs() ** power).sum(0).flatten().tolist() for x in (a, b)]
        gaps += [x - y for x, y in zip(unit(maps[0]), unit(maps[1]))]
    wanted = sum(gap * gap for gap in gaps) / len(gaps)
    got = attention_transfer(
        attention_map((student * scale).float(), power=power),
        attention_map(teacher.float(), power=power),
    )
    assert got.item() == pytest.approx(wanted, rel=1e-5)
    hints = hint_distance((student * scale).float(), teacher.float())
    assert hints.item() == pytest.approx(hint_distance(student, teacher).item(), rel=1e-5)


def test_maps_of_other_grids_are_resized_and_dead_maps_are_finite():
    student = torch.zeros(1, 4, 4, requires_grad=True)
    for reduction in ("mean", "paper"):
        loss = attention_transfer(student, torch.rand(1, 8, 8), reduction)
        loss.backward()
        assert loss.isfinite() and student.grad.isfinite().all()


def test_hint_distance_equals_the_loops():
    student, teacher = features(2, 3, 2, 2), features(2, 3, 2, 2, seed=1)
    total = 0.0
    for a, b in zip(student.flatten(1).tolist(), teacher.flatten(1).tolist()):
        total += sum((x - y) ** 2 for x, y in zip(unit(a), unit(b)))
    assert hint_distance(student, teacher).item() == pytest.approx(total / 2)


class Net(nn.Module):
    """Smooth, so that finite differences of its gradient are good."""

    def __init__(self, seed):
        super().__init__()
        torch.manual_seed(seed)
        self.layers = nn.Sequential(
            nn.Conv2d(2, 3, 3, padding=1), nn.Tanh(), nn.Flatten(), nn.Linear(3 * 3 * 4, 4)
        ).double()

    def forward(self, images):
        return self.layers(images)


def image_gradient(net, images, labels, twice=True):
    images = images.clone().requires_grad_()
    loss = nn.functional.cross_entropy(net(images), labels, reduction="sum")
    return input_gradient(loss, images, twice)


def slow_gradient(net, images, labels, step=1e-5):
    """∂L/∂x by central differences, pixel by pixel."""
    gradient = torch.zeros_like(images)
    for index in range(images.numel()):
        sides = []
        for sign in (1, -1):
            moved = images.clone()
            moved.view(-1)[index] += sign * step
            sides.append(nn.functional.cross_entropy(net(moved), labels, reduction="sum"))
        gradient.view(-1)[index] = (sides[0] - sides[1]).detach() / (2 * step)
    return gradient


def gradient_gap(net, images, labels):
    """½ ‖J − J_T‖ of a student, and of a teacher of other weights."""
    theirs = image_gradient(Net(1), images, labels, twice=False)
    return half_norm(image_gradient(net, images, labels) - theirs)


def test_gradient_losses_equal_finite_differences():
    net, images, labels = Net(0), features(2, 2, 3, 4), torch.tensor([1, 3])
    gaps = slow_gradient(net, images, labels) - slow_gradient(Net(1), images, labels)
    wanted = sum(0.5 * math.sqrt(sum(gap.flatten().square().tolist())) for gap in gaps) / 2
    assert gradient_gap(net, images, labels).item() == pytest.approx(wanted, rel=1e-6)


def test_double_back_propagation_equals_finite_differences():
    net, images, labels = Net(0), features(2, 2, 3, 4), torch.tensor([1, 3])
    weight = net.layers[0].weight
    (got,) = torch.autograd.grad(gradient_gap(net, images, labels), weight)
    step = 1e-5
    for index in range(0, weight.numel(), 7):
        sides = []
        for sign in (1, -1):
            with torch.no_grad():
                weight.view(-1)[index] += sign * step
            sides.append(gradient_gap(net, images, labels).item())
            with torch.no_grad():
                weight.view(-1)[index] -= sign * step
        wanted = (sides[0] - sides[1]) / (2 * step)
        assert got.reshape(-1)[index].item() == pytest.approx(wanted, rel=1e-4, abs=1e-8)


def test_an_images_gradient_does_not_depend_on_its_batch():
    net, images, labels = Net(0), features(3, 2, 3, 4), torch.tensor([1, 3, 0])
    whole = image_gradient(net, images, labels)
    torch.testing.assert_close(whole[:1], image_gradient(net, images[:1], labels[:1]))
