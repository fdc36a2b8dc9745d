"""Peak memory of AAL's step, and of the links beside their straightforward form."""

import pytest
import torch

from tools.bench.setting import Setting
from tools.bench.straightforward import distance_of_maps
from tools.bench.timed_steps import TimedSteps
from tools.bench.timing import peak_memory

from .steps import CLASSES, batch, models, task


@pytest.fixture
def made(device):
    dtype = "bfloat16" if device == "cuda" else "float32"
    count = 64 if device == "cuda" else 2
    setting = Setting(**models(device), batch=count, classes=CLASSES, dtype=dtype, device=device)
    return TimedSteps(setting)


def peak(step, device):
    step()  # allocates gradients and optimizer state
    return peak_memory(step, device)


def test_a_step_needs_what_student_and_teacher_need(device, made):
    steps = dict(student=made.plain(), teacher=made.teacher(), aal=made.aal())
    peaks = {name: peak(step, device) for name, step in steps.items()}
    if device == "cuda":  # a CPU's counter is too coarse for these sizes
        assert peaks["aal"] <= 1.05 * (peaks["student"] + peaks["teacher"]), peaks


def test_links_need_less_than_with_all_maps_in_memory(device, made):
    links, all_maps = (peak(made.links_alone(how), device) for how in (None, distance_of_maps))
    if device == "cuda":
        assert links < all_maps


def test_memory_does_not_grow_from_step_to_step(device):
    ours = task(device).train()
    optimizer = torch.optim.AdamW(ours.trainable_module.parameters())
    given = batch(device)
    used = []
    for _ in range(4):
        optimizer.zero_grad()
        ours(*given)["loss"].backward()
        optimizer.step()
        used.append(torch.cuda.memory_allocated() if device == "cuda" else 0)
    assert used[-1] == used[1], used
