"""L_att where linked heads are nearly alike and weights cancel, against the direct form in float64.

TF32 is emulated: the factors of every float32 matrix product, of the backward pass too, lose all
but 10 bits of their mantissas.
"""

import pytest
import torch
import torch.nn.functional as F
from torch.utils._python_dispatch import TorchDispatchMode

from aal_plugin.core import AttentionLinks
from aal_plugin.core import precision as rounding
from aal_plugin.core.losses.links import augmented_gap
from aal_plugin.core.precision import precise_matmul

PRODUCTS = {torch.ops.aten.mm.default: (0, 1), torch.ops.aten.bmm.default: (0, 1)}
PRODUCTS[torch.ops.aten.addmm.default] = (1, 2)
PRODUCTS[torch.ops.aten.baddbmm.default] = (1, 2)


class TF32(TorchDispatchMode):
    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        args = list(args)
        for place in PRODUCTS.get(func, ()):
            if args[place].dtype == torch.float32:
                bits = args[place].contiguous().view(torch.int32)
                # Rounded to nearest, as the hardware does.
                args[place] = ((bits + 0x1000) & ~0x1FFF).view(torch.float32)
        return func(*args, **(kwargs or {}))


def direct(weight, bias, maps, activations, size):
    """Eq. 4 and 5 in float64, every augmented map in memory, resized by PyTorch."""
    stack = torch.cat([resized(block, size) for block in maps], 1)
    level = torch.cat([resized(a, size) for a in activations], 1)
    augmented = torch.einsum("cm,bmhw->bchw", weight, stack) + bias.view(-1, 1, 1)
    unit = [m.flatten(2) / m.flatten(2).norm(dim=-1, keepdim=True) for m in (augmented, level)]
    return (unit[0] - unit[1]).square().mean()


def resized(maps, size):
    if maps.shape[-2:] == size:
        return maps
    return F.interpolate(maps, size, mode="bicubic", align_corners=False)


def alike(share, groups, grid=(7, 7), batch=3, heads=8, channels=12, seed=0):
    """Softmax maps of `heads` heads, alike within each group, and weights that cancel there."""
    generator = torch.Generator().manual_seed(seed)

    def random(*shape):
        return torch.randn(*shape, generator=generator, dtype=torch.float64)

    positions = grid[0] * grid[1]
    common = (2 * random(batch, groups, 1, positions)).softmax(-1)
    own = (2 * random(batch, groups, heads // groups, positions)).softmax(-1)
    maps = (share * common + (1 - share) * own).flatten(1, 2).unflatten(-1, grid)
    weight = random(channels, groups, heads // groups)
    weight = (weight - weight.mean(-1, keepdim=True)).flatten(1)
    # float32 numbers: what is compared is the arithmetic, not the rounding of what it is given.
    return maps.float(), weight.float(), random(batch, channels, 9, 9).float()


def ours(maps, weight, activation, size):
    links = AttentionLinks([(1, 1)], [maps.shape[1]], [weight.shape[0]])
    with torch.no_grad():
        links[0].weight.copy_(weight[..., None, None])
        links[0].bias.zero_()
    maps = maps.clone().requires_grad_()
    loss = links.distance([maps], [activation], size)
    gradients = torch.autograd.grad(loss, [links[0].weight, links[0].bias, maps])
    return loss.detach(), [gradients[0].flatten(1), *gradients[1:]]


def exact(maps, weight, activation, size):
    given = [maps.double().requires_grad_(), weight.double().requires_grad_()]
    bias = torch.zeros(len(weight), dtype=torch.float64, requires_grad=True)
    loss = direct(given[1], bias, [given[0]], [activation.double()], size)
    return loss.detach(), torch.autograd.grad(loss, [given[1], bias, given[0]])


@pytest.mark.parametrize("tf32", [False, True])
@pytest.mark.parametrize(
    ("share", "groups"),
    # Two groups end where float32's own augmented maps are off by as much.
    [(share, 1) for share in (0.5, 0.99, 0.99999)] + [(share, 2) for share in (0.5, 0.99, 0.9999)],
)
@pytest.mark.parametrize("size", [(7, 7), (5, 5)])
def test_loss_and_gradients_are_the_direct_forms_in_float64(monkeypatch, share, groups, tf32, size):
    setting = alike(share, groups)
    expected, wanted = exact(*setting, size)
    if tf32:
        monkeypatch.setattr(rounding, "rounds_factors", lambda device: True)
        with TF32():
            loss, gradients = ours(*setting, size)
    else:
        loss, gradients = ours(*setting, size)
    assert loss >= 0
    assert float(loss) == pytest.approx(float(expected), rel=1e-3)
    for got, gradient in zip(gradients, wanted):
        assert (got.double() - gradient).norm() < 1e-3 * gradient.norm()


def test_the_emulation_of_tf32_does_round():
    a, b = torch.randn(2, 30, 40), torch.randn(2, 40, 50)
    wanted = a.double() @ b.double()
    with TF32():
        plain = a @ b
    off = (plain.double() - wanted).norm() / wanted.norm()
    assert 1e-4 < off < 2e-3


def test_products_keep_float32s_precision_under_tf32_forward_and_backward(monkeypatch):
    monkeypatch.setattr(rounding, "rounds_factors", lambda device: True)
    torch.manual_seed(0)
    a, b = torch.randn(2, 30, 40, requires_grad=True), torch.randn(2, 40, 50, requires_grad=True)
    out = torch.randn(2, 30, 50)
    with TF32():
        product = precise_matmul(a, b)
        gradients = torch.autograd.grad(product, [a, b], out)
    exact_a, exact_b = (m.detach().double().requires_grad_() for m in (a, b))
    wanted = exact_a @ exact_b
    expected = torch.autograd.grad(wanted, [exact_a, exact_b], out.double())
    for got, value in zip([product, *gradients], [wanted, *expected]):
        assert (got.double() - value).norm() < 2e-6 * value.norm()


def test_products_can_be_differentiated_twice():
    a = torch.randn(2, 3, 4, dtype=torch.float64, requires_grad=True)
    b = torch.randn(2, 4, 2, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(precise_matmul, (a, b))
    assert torch.autograd.gradgradcheck(precise_matmul, (a, b))


def test_the_distance_can_be_differentiated_twice():
    maps, weight, level = (given.double() for given in alike(0.5, 1, (2, 3), 2, 3, 2))

    def distance(weight, maps):
        return augmented_gap(weight, bias, maps, level.flatten(2)[..., :6]).sum()

    bias = torch.randn(2, dtype=torch.float64)
    given = (weight.requires_grad_(), maps.flatten(2).requires_grad_())
    assert torch.autograd.gradcheck(distance, given)
    assert torch.autograd.gradgradcheck(distance, given)


def test_a_loss_at_its_least_is_not_negative():
    maps, weight, _ = alike(0.9, 1)
    augmented = torch.einsum("cm,bmhw->bchw", weight, maps)
    loss, gradients = ours(maps, weight, 3 * augmented, (7, 7))
    assert 0 <= loss < 1e-6 and all(gradient.isfinite().all() for gradient in gradients)


@pytest.mark.parametrize(("precision", "rounds"), [("highest", False), ("high", True)])
def test_torchs_setting_is_read(precision, rounds):
    before = torch.get_float32_matmul_precision()
    try:
        torch.set_float32_matmul_precision(precision)
        assert rounding.rounds_factors("cuda") is rounds
        torch.backends.cuda.matmul.allow_tf32 = not rounds
        assert rounding.rounds_factors("cuda") is not rounds
        assert not rounding.rounds_factors("cpu")
    finally:
        torch.set_float32_matmul_precision(before)
