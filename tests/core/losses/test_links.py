import pytest
import torch
import torch.nn.functional as F

from aal_plugin.core import (
    AttentionLinks,
    link_ranges,
    mean_link_distance,
    resize_maps,
)
from aal_plugin.core.losses.link_ranges import as_grid

EFFICIENTNET_B3 = (24, 32, 48, 96, 136, 232, 384)  # of the teacher: tests/core/teacher


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


def test_maps_of_one_position_are_refused():
    module = AttentionLinks([(1, 1)], [2], [3])
    with pytest.raises(ValueError, match="attention maps have one position each"):
        module.distance([torch.ones(1, 2, 1, 1)], [torch.randn(1, 3, 4, 4)])


def test_augmented_maps_equal_loop_reference():
    torch.manual_seed(0)
    heads, ranges = [2, 2, 3], [(1, 2), (2, 3), (3, 3)]
    module = AttentionLinks(ranges, heads, [4, 5, 2]).double()
    maps = [torch.rand(2, m, 3, 2, dtype=torch.float64) for m in heads]
    for got, expected in zip(module(maps), slow_augment(maps, ranges, module)):
        torch.testing.assert_close(got, expected)


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


def linked(links="alpha", dtype=torch.float64, seed=0):
    """Links of a small student and teacher, its softmax maps, and teacher maps of three grids."""
    torch.manual_seed(seed)
    ranges = link_ranges(links, 3, 4)
    module = AttentionLinks(ranges, [2, 3, 2, 1], [5, 4, 6]).to(dtype)
    maps = [torch.randn(3, m, 20).mul(2).softmax(-1).view(3, m, 4, 5) for m in (2, 3, 2, 1)]
    maps = [block.to(dtype).requires_grad_() for block in maps]
    grids = ((5, (16, 20)), (4, (4, 5)), (6, (2, 3)))
    return module, maps, [torch.randn(3, c, *grid).to(dtype) for c, grid in grids]


def of_maps(module, maps, activations, size=(4, 5), antialias=False):
    """Eq. 4 and 5 as they stand, with every map in memory."""
    resized = [
        level
        if level.shape[-2:] == size
        else F.interpolate(level, size, mode="bicubic", align_corners=False, antialias=antialias)
        for level in activations
    ]
    return mean_link_distance(module(maps), resized)


def loss_and_gradients(measure, module, maps, activations, **options):
    loss = measure(module, maps, activations, **options)
    return [loss, *torch.autograd.grad(loss, [*module.parameters(), *maps])]


@pytest.mark.parametrize("links", ["full", "alpha", [(1, 1), (2, 4), (1, 1)]])
@pytest.mark.parametrize("antialias", [False, True])
def test_inner_products_give_the_loss_and_gradients_of_the_maps(links, antialias):
    setting = linked(links)
    got = loss_and_gradients(AttentionLinks.distance, *setting, antialias=antialias)
    expected = loss_and_gradients(of_maps, *setting, antialias=antialias)
    for a, b in zip(got, expected):
        torch.testing.assert_close(a, b, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("case", ["fresh", "offset", "cancelling"])
def test_float32_inner_products_are_as_near_to_float64_as_the_maps_are(case):
    """Where maps are nearly alike, or weights cancel, squares must not drown the differences."""
    module, maps, activations = linked("full")
    with torch.no_grad():
        if case == "offset":  # attention within a thousandth of uniform, bias against the mean
            maps = [(1 / 20 + (block - 1 / 20) * 1e-3).requires_grad_() for block in maps]
            for link in module:
                link.bias.copy_(-link.weight.sum((1, 2, 3)) / 20)
        if case == "cancelling":  # two heads alike, of opposite weights
            maps[1][:, 0] = maps[1][:, 1] + 1e-3 * maps[1][:, 2]
            for link in module:
                link.weight[:, 2] = 10.0
                link.weight[:, 3] = -10.0
    exact = loss_and_gradients(of_maps, module, maps, activations)
    single = [
        module.float(),
        [block.detach().float().requires_grad_() for block in maps],
        [level.float() for level in activations],
    ]
    ours = loss_and_gradients(AttentionLinks.distance, *single)
    plain = loss_and_gradients(of_maps, *single)
    for a, b, c in zip(ours, plain, exact):
        bound = 50 * (b.double() - c).norm() + 3e-6 * c.norm()
        assert (a.double() - c).norm() <= min(bound, 1e-3 * c.norm())


def test_dead_channels_and_links_of_zero_have_the_loss_and_gradients_of_the_maps():
    module, maps, activations = linked("full", torch.float32)
    activations[0][:, 1] = 0
    activations[1][:] = 0
    with torch.no_grad():
        module[0].weight[0] = 0
        module[0].bias[0] = 0
        module[2].weight.zero_()
        module[2].bias.zero_()
    got = loss_and_gradients(AttentionLinks.distance, module, maps, activations)
    expected = loss_and_gradients(of_maps, module, maps, activations)
    for a, b in zip(got, expected):
        assert torch.isfinite(a).all()
        torch.testing.assert_close(a, b, rtol=1e-4, atol=1e-7)


def test_the_augmented_maps_are_never_in_memory():
    """The largest tensor of the step is the teacher's, not C maps for every image anew."""
    from torch.utils._python_dispatch import TorchDispatchMode

    sizes = []

    class Sizes(TorchDispatchMode):
        def __torch_dispatch__(self, func, types, args=(), kwargs=None):
            out = func(*args, **(kwargs or {}))
            if isinstance(out, torch.Tensor) and not func.is_view and "cat" not in str(func):
                sizes.append(out.numel())
            return out

    channels, positions = 40, 196
    module = AttentionLinks([(1, 2)], [2, 2], [channels])
    maps = [torch.rand(3, 2, 14, 14, requires_grad=True) for _ in range(2)]
    level = torch.randn(3, channels, 14, 14)
    with Sizes():
        module.distance(maps, [level]).backward()
    assert max(sizes) < 3 * channels * positions
    sizes.clear()
    with Sizes():
        of_maps(module, maps, [level], (14, 14)).backward()
    assert max(sizes) == 3 * channels * positions


@pytest.mark.parametrize(
    ("links", "count"), [("full", 68_544), ("alpha", 28_608), ("beta", 23_280)]
)
def test_link_weights_of_deit_s_and_efficientnet_b3(links, count):
    module = AttentionLinks(link_ranges(links, 7, 12), [6] * 12, EFFICIENTNET_B3)
    assert sum(link.weight.numel() for link in module) == count
    assert sum(link.bias.numel() for link in module) == 952


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
        ([(1.0, 2.0)] * 7, r"\(1\.0, 2\.0\) is not a \(first, last\) pair .*whole numbers"),
        ([(True, 2)] * 7, r"\(True, 2\) is not a \(first, last\) pair"),
        ([(1, 2, 3)] * 7, r"\(1, 2, 3\) is not a \(first, last\) pair"),
        (5, "link_head.links=5; choose 'full', 'alpha', 'beta' or one"),
    ],
)
def test_bad_links_name_key_value_and_choices(links, words):
    with pytest.raises(ValueError, match=words):
        link_ranges(links, 7, 12)


@pytest.mark.parametrize("size", [1, 0, True, 2.5, (1, 1), (0, 4), (2, 3, 4), (2.0, 3)])
def test_map_sizes_that_are_no_grid_of_two_positions_are_refused(size):
    words = r"link_head.map_size=.*; choose a positive side, .*two positions"
    with pytest.raises(ValueError, match=words):
        as_grid(size, "link_head.map_size")
