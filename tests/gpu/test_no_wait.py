"""No step waits for the device: the host may run ahead of it."""

from contextlib import contextmanager

import pytest
import torch

from .steps import batch, linked, loss_of, task, teacher


@contextmanager
def waiting_is_an_error(device):
    if device == "cpu":
        yield
        return
    torch.cuda.set_sync_debug_mode("error")
    try:
        yield
    finally:
        torch.cuda.set_sync_debug_mode("default")


@pytest.mark.parametrize("dtype", [None, torch.bfloat16], ids=["float32", "bfloat16"])
def test_a_step_of_any_loop(device, dtype):
    cnn = teacher(device)
    model = linked(device, cnn.channels).train()
    optimizer = torch.optim.AdamW(model.parameters())
    given = batch(device)

    def step():
        optimizer.zero_grad()
        loss_of(model, cnn, *given, dtype).backward()
        optimizer.step()

    step()  # computes the matrices of the resizes, once
    with waiting_is_an_error(device):
        for _ in range(3):
            step()


def test_steps_and_epochs_of_timms_task(device):
    ours = task(device).train()
    optimizer = torch.optim.AdamW(ours.trainable_module.parameters())
    given = batch(device)

    def step():
        optimizer.zero_grad()
        ours(*given)["loss"].backward()
        optimizer.step()

    step()
    with waiting_is_an_error(device):
        for epoch in (1, 2):
            ours.set_epoch(epoch)
            step()
            step()
    ours.check_finite()


def test_waiting_is_seen(device):
    """Without this, the tests above would show nothing."""
    if device == "cpu":
        pytest.skip("a CPU does not wait for itself")
    with waiting_is_an_error(device), pytest.raises(RuntimeError, match="synchroniz"):
        torch.ones(1, device=device).item()
