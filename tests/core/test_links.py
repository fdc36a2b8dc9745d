import math

import pytest
import torch

from aal_plugin.core import (
    AttentionLinks,
    TimmTeacher,
    link_distance,
    link_ranges,
    mean_link_distance,
    resize_maps,
)

EFFICIENTNET_B3 = (24, 32, 48, 96, 136, 232, 384)


def slow_distance(augmented, activation):
    """Eq. 5 as loops: the mean over batch, channels and positions of squared differences."""
    total, count = 0.0, 0
    for a_sample, b_sample in zip(augmented, activation):
        for a, b in zip(a_sample, b_sample):
            a_norm = math.sqrt(sum(float(v) ** 2 for v in a.flatten()))
            b_norm = math.sqrt(sum(float(v) ** 2 for v in b.flatten()))
            for x, y in zip(a.flatten(), b.flatten()):
                total += (float(x) / a_norm - float(y) / b_norm) ** 2
                count += 1
    return total / count


def slow_augment(maps, ranges, links):
    """Eq. 4 as loops over channels and linked heads."""
    out = []
    for (first, last), link in zip(ranges, links):
        linked = [m[:, i] for m in maps[first - 1 : last] for i in range(m.shape[1])]
        levels = []
        for weight, bias in zip(link.weight, link.bias):
            levels.append(sum(weight[i, 0, 0] * linked[i] for i in range(len(linked))) + bias)
        out.append(torch.stack(levels, dim=1))
    return out


@pytest.mark.parametrize(
    ("links", "count"), [("full", 68_544), ("alpha", 28_608), ("beta", 23_280)]
)
def test_link_weights_of_deit_s_and_efficientnet_b3(links, count):
    module = AttentionLinks(link_ranges(links, 7, 12), [6] * 12, EFFICIENTNET_B3)
    assert sum(link.weight.numel() for link in module) == count
    assert sum(link.bias.numel() for link in module) == 952


def test_efficientnet_b3_has_the_levels_of_the_paper():
    teacher = TimmTeacher("efficientnet_b3", allow_random_weights=True)
    assert tuple(teacher.channels) == EFFICIENTNET_B3


def test_ranges_stretch_over_other_depths():
    assert link_ranges("alpha", 7, 24)[:2] == [(1, 6), (1, 10)]
    assert link_ranges("alpha", 7, 6)[5:] == [(3, 6), (4, 6)]
    assert link_ranges("alpha", 4, 12) == [(1, 3), (3, 5), (4, 6), (7, 12)]
    assert link_ranges("beta", 1, 12) == [(7, 10)]
    assert all(1 <= a <= b <= 5 for a, b in link_ranges("beta", 9, 5))


@pytest.mark.parametrize(
    ("links", "words"),
    [
        (
            "gamma",
            r"link_head.links='gamma'; choose 'full', 'alpha', 'beta' or one \(first,",
        ),
        ([(1, 12)] * 3, "3 .* pairs, but the teacher has 7 levels"),
        ([(1, 12)] * 6 + [(3, 13)], r"level 7 has \(3, 13\); choose 1 <= first <= last <= 12"),
        ([(0, 4)] * 7, r"level 1 has \(0, 4\)"),
        ([(5, 4)] * 7, r"level 1 has \(5, 4\)"),
        ([3] * 7, r"3 is not a \(first, last\) pair"),
    ],
)
def test_bad_links_name_key_value_and_choices(links, words):
    with pytest.raises(ValueError, match=words):
        link_ranges(links, 7, 12)


def test_augmented_maps_equal_loop_reference():
    torch.manual_seed(0)
    heads, ranges = [2, 2, 3], [(1, 2), (2, 3), (3, 3)]
    module = AttentionLinks(ranges, heads, [4, 5, 2]).double()
    maps = [torch.rand(2, m, 3, 2, dtype=torch.float64) for m in heads]
    for got, expected in zip(module(maps), slow_augment(maps, ranges, module)):
        torch.testing.assert_close(got, expected)


def test_distance_equals_loop_reference_and_weighs_channels_alike():
    torch.manual_seed(0)
    levels = [(torch.randn(2, c, 3, 4).double(), torch.randn(2, c, 3, 4).double()) for c in (3, 5)]
    for a, b in levels:
        assert float(link_distance(a, b)) == pytest.approx(slow_distance(a, b), rel=1e-12)
    both = [torch.cat(side, dim=1) for side in zip(*levels)]
    whole = mean_link_distance(*zip(*levels))
    assert float(whole) == pytest.approx(slow_distance(*both), rel=1e-12)


def test_distance_is_two_minus_twice_the_cosine_over_the_positions():
    a, b = torch.randn(1, 1, 14, 14), torch.randn(1, 1, 14, 14)
    cosine = torch.cosine_similarity(a.flatten(), b.flatten(), dim=0)
    torch.testing.assert_close(link_distance(a, b), (2 - 2 * cosine) / 14**2)


def test_dead_channels_give_finite_loss_and_gradients():
    augmented = torch.zeros(1, 2, 3, 3, requires_grad=True)
    loss = link_distance(augmented, torch.zeros(1, 2, 3, 3))
    loss.backward()
    assert torch.isfinite(loss) and torch.isfinite(augmented.grad).all()


def test_distance_is_float32_under_autocast_and_survives_half_maps():
    maps, activations = [torch.rand(2, 4, 5, 5)], [torch.randn(2, 6, 9, 9) * 300]
    module = AttentionLinks([(1, 1)], [4], [6])
    expected = module.distance(maps, activations)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert module.distance(maps, activations) == expected
        halved = module.distance(maps, [activations[0].half()])
    assert halved.dtype == torch.float32
    torch.testing.assert_close(halved, expected, rtol=1e-3, atol=0)


def test_maps_of_several_grids_meet_on_fourteen_and_one_grid_stays():
    module = AttentionLinks([(1, 2)], [1, 1], [3])
    activations = [torch.randn(1, 3, 20, 20)]
    several = [torch.rand(1, 1, 8, 8), torch.rand(1, 1, 4, 4)]
    expected = module.distance([resize_maps(m, (14, 14)) for m in several], activations)
    assert module.distance(several, activations) == expected
    one = [torch.rand(1, 1, 6, 9), torch.rand(1, 1, 6, 9)]
    assert module.distance(one, activations) == module.distance(one, activations, (6, 9))


def test_resize_is_bicubic_without_antialias():
    maps = torch.randn(1, 1, 8, 8)
    expected = torch.nn.functional.interpolate(maps, (3, 5), mode="bicubic", align_corners=False)
    torch.testing.assert_close(resize_maps(maps, (3, 5)), expected)
    assert not torch.allclose(resize_maps(maps, (3, 5), antialias=True), expected)
