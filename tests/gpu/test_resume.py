"""A run that goes on from a file, with CUDA's random states, ends as one that was not stopped."""

import pytest
import torch

from .steps import batch, off, task

DROPOUT = dict(drop_rate=0.3, proj_drop_rate=0.1, drop_path_rate=0.3)


def started(device, seed=0):
    ours = task(device, seed, **DROPOUT).train()
    torch.manual_seed(10 + seed)  # seeds CUDA's generators too
    parameters = ours.trainable_module.parameters()
    # Adam would enlarge the rounding of sums that run in another order.
    return ours, torch.optim.SGD(parameters, lr=1e-4, momentum=0.9)


def steps(device, ours, optimizer, numbers):
    for number in numbers:
        ours.set_epoch(number)
        optimizer.zero_grad()
        ours(*batch(device, seed=number))["loss"].backward()
        optimizer.step()


def random_states(device):
    states = dict(cpu=torch.get_rng_state())
    if device == "cuda":
        states["cuda"] = torch.cuda.get_rng_state()
    return states


def set_random_states(states):
    torch.set_rng_state(states["cpu"])
    if "cuda" in states:
        torch.cuda.set_rng_state(states["cuda"])


def parameters(ours):
    return torch.cat(
        [p.detach().double().cpu().flatten() for p in ours.trainable_module.parameters()]
    )


@pytest.mark.parametrize("restored", [True, False], ids=["restored", "not_restored"])
def test_a_resumed_run_ends_as_an_unbroken_one(device, tmp_path, restored):
    ours, optimizer = started(device)
    steps(device, ours, optimizer, (0, 1))
    saved = dict(
        student=ours.trainable_module.student.state_dict(),
        task=ours.get_task_state(),
        optimizer=optimizer.state_dict(),
        random=random_states(device),
    )
    torch.save(saved, tmp_path / "run.pth")
    before = parameters(ours)
    steps(device, ours, optimizer, (2, 3))
    change = parameters(ours) - before

    again, optimizer = started(device, seed=1)
    loaded = torch.load(tmp_path / "run.pth", weights_only=True)
    again.trainable_module.student.load_state_dict(loaded["student"])
    again.load_task_state(loaded["task"])
    optimizer.load_state_dict(loaded["optimizer"])
    if restored:
        set_random_states(loaded["random"])
    steps(device, again, optimizer, (2, 3))
    same = off(parameters(again) - before, change) < 1e-3
    assert same is restored  # other random states, other dropout: the test can see them
