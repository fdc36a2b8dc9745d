"""One rank with NCCL: DDP's gradients are those without it, at λ = 0 too."""

import pytest
import torch
import torch.distributed as dist
from torch.nn.parallel import DistributedDataParallel

from .steps import batch, gradients, linked, loss_of, off, teacher


@pytest.fixture
def one_rank(device, tmp_path):
    backend = "nccl" if device == "cuda" else "gloo"
    dist.init_process_group(
        backend, init_method=f"file://{tmp_path / 'ranks'}", rank=0, world_size=1
    )
    yield
    dist.destroy_process_group()


def wrapped(device, cnn):
    return DistributedDataParallel(
        linked(device, cnn.channels), device_ids=[0] if device == "cuda" else None
    )


def test_gradients_are_those_without_ddp(device, one_rank):
    cnn = teacher(device)
    found = []
    for model in (linked(device, cnn.channels), wrapped(device, cnn)):
        for _ in range(2):  # a parameter without a gradient would stop the second step
            model.zero_grad()
            loss_of(model, cnn, *batch(device)).backward()
        found.append(gradients(model))
    assert off(found[1], found[0]) < 1e-4


def test_lambda_of_0_stops_no_step(device, one_rank):
    cnn = teacher(device)
    model = wrapped(device, cnn)
    images, target = batch(device)
    for _ in range(2):
        model.zero_grad()
        logits, distance = model(images)
        (torch.nn.functional.cross_entropy(logits, target) + 0.0 * distance).backward()
    links = model.module.links.parameters()
    assert all(float(parameter.grad.abs().sum()) == 0 for parameter in links)
