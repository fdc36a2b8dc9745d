"""A step in each precision against float64 on the CPU, channels-last images too."""

import pytest
import torch

from tests.core.test_precision import alike, exact, ours

from .conftest import set_tf32
from .steps import batch, gradients, linked, loss_of, off, teacher

SCALE = 1024.0  # of float16's loss, as a GradScaler would


@pytest.fixture(scope="module")
def reference():
    """Loss and gradients of the same step, in float64 on the CPU."""
    from .conftest import DEVICE

    # The models of the device, moved to the CPU.
    cnn = teacher(DEVICE)
    model = linked(DEVICE, cnn.channels)
    images, target = (given.cpu() for given in batch(DEVICE))
    loss = loss_of(model.cpu().double().train(), cnn.cpu().double(), images.double(), target)
    loss.backward()
    return float(loss.detach()), gradients(model)


@pytest.mark.parametrize(
    ("dtype", "tf32", "loss_limit", "limit"),
    [
        (None, False, 1e-4, 1e-3),
        (None, True, 3e-3, 2e-2),
        (torch.float16, True, 3e-3, 2e-2),
        (torch.bfloat16, True, 2e-2, 0.15),
    ],
    ids=["float32", "tf32", "float16", "bfloat16"],
)
@pytest.mark.parametrize("channels_last", [True, False], ids=["channels_last", "channels_first"])
def test_a_step_is_float64s(device, reference, dtype, tf32, loss_limit, limit, channels_last):
    set_tf32(tf32)
    name = None if dtype is None else str(dtype).removeprefix("torch.")
    cnn = teacher(device, dtype=name, channels_last=channels_last)
    model = linked(device, cnn.channels).train()
    images, target = batch(device)
    if channels_last:
        images = images.to(memory_format=torch.channels_last)
    loss = loss_of(model, cnn, images, target, dtype)
    scale = SCALE if dtype == torch.float16 else 1.0
    (scale * loss).backward()
    expected_loss, expected = reference
    assert float(loss.detach()) == pytest.approx(expected_loss, rel=loss_limit)
    assert off(gradients(model) / scale, expected) < limit


@pytest.mark.parametrize("tf32", [False, True])
@pytest.mark.parametrize("share", [0.9, 0.9999])
def test_the_distance_keeps_its_precision_where_heads_are_nearly_alike(device, tf32, share):
    set_tf32(tf32)
    maps, weight, activation = alike(share, groups=2)
    expected, wanted = exact(maps, weight, activation, (7, 7))
    # `ours` creates its links on the default device.
    with torch.device(device):
        loss, found = ours(maps.to(device), weight.to(device), activation.to(device), (7, 7))
    assert float(loss) == pytest.approx(float(expected), rel=1e-3)
    for got, gradient in zip(found, wanted):
        assert off(got.double().cpu(), gradient) < 1e-3


def test_tf32_does_round_on_this_device(device):
    """Without this, the tests above would show nothing."""
    if device == "cpu" or torch.cuda.get_device_capability() < (8, 0):
        pytest.skip("this device has no TF32")
    set_tf32(True)
    a = torch.randn(256, 256, device=device)
    assert off((a @ a).double().cpu(), a.double().cpu() @ a.double().cpu()) > 1e-4
