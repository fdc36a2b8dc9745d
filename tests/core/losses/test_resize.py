import pytest
import torch
import torch.nn.functional as F

from aal_plugin.core import resize_maps
from aal_plugin.core.losses import resize


def interpolate(maps, size, antialias=False):
    return F.interpolate(maps, size, mode="bicubic", align_corners=False, antialias=antialias)


@pytest.mark.parametrize("antialias", [False, True])
@pytest.mark.parametrize("memory_format", [torch.contiguous_format, torch.channels_last])
@pytest.mark.parametrize(
    ("source", "size"),
    [((28, 20), (14, 9)), ((7, 7), (14, 14)), ((9, 14), (14, 14)), ((80, 61), (14, 12))],
)
def test_products_equal_interpolation(source, size, memory_format, antialias):
    maps = torch.randn(2, 5, *source, dtype=torch.float64).to(memory_format=memory_format)
    expected = interpolate(maps, size, antialias)
    torch.testing.assert_close(resize_maps(maps, size, antialias), expected, rtol=0, atol=1e-12)
    got = resize_maps(maps.float(), size, antialias)
    torch.testing.assert_close(got, expected.float(), rtol=0, atol=5e-6)


def test_gradient_equals_that_of_interpolation():
    for source in ((8, 6), (30, 40)):  # of the larger one, not all is read
        maps = torch.randn(2, 3, *source, dtype=torch.float64, requires_grad=True)
        weights = torch.randn(2, 3, 5, 7, dtype=torch.float64)
        expected = torch.autograd.grad((interpolate(maps, (5, 7)) * weights).sum(), maps)[0]
        got = torch.autograd.grad((resize_maps(maps, (5, 7)) * weights).sum(), maps)[0]
        torch.testing.assert_close(got, expected)


def test_half_maps_are_resized_in_float32_also_under_autocast():
    maps = torch.randn(1, 4, 20, 20).bfloat16()
    expected = interpolate(maps.float(), (14, 14))
    with torch.autocast("cpu", dtype=torch.bfloat16):
        got = resize_maps(maps, (14, 14))
    torch.testing.assert_close(got, expected, rtol=0, atol=5e-6)


def test_matrices_are_made_once_and_outlive_inference_mode():
    resize._kept.clear()
    with torch.inference_mode():
        resize_maps(torch.randn(1, 2, 11, 11), (5, 5))
    maps = torch.randn(1, 2, 11, 11, requires_grad=True)
    before = {key: id(matrix) for key, (matrix, _) in resize._kept.items()}
    resize_maps(maps, (5, 5)).sum().backward()
    assert {key: id(matrix) for key, (matrix, _) in resize._kept.items()} == before
    assert len(before) == 1
    assert torch.isfinite(maps.grad).all()


def test_a_tracers_tensors_are_not_kept():
    from torch._subclasses.fake_tensor import FakeTensorMode

    resize._kept.clear()
    with FakeTensorMode():
        assert resize_maps(torch.randn(1, 2, 13, 13), (5, 5)).shape == (1, 2, 5, 5)
    maps = torch.randn(1, 2, 13, 13)
    torch.testing.assert_close(resize_maps(maps, (5, 5)), interpolate(maps, (5, 5)))


def test_compiled_products_equal_eager_ones():
    torch.compiler.reset()
    step = torch.compile(
        lambda maps: resize_maps(maps, (5, 4)), backend="aot_eager", fullgraph=True
    )
    maps = torch.randn(2, 3, 24, 20)
    torch.testing.assert_close(step(maps), resize_maps(maps, (5, 4)))
