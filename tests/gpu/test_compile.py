"""Compiled steps and CUDA graphs train as eager ones do; a new λ compiles nothing."""

import pytest
import torch
from torch._dynamo.utils import counters

from .steps import batch, off, task

STEPS = 3


def compiler(device, mode):
    """Arguments of `torch.compile`: on a CPU, tracing alone, without a C++ compiler."""
    return dict(backend="inductor", mode=mode) if device == "cuda" else dict(backend="eager")


def trained(device, arguments=None):
    """Parameters' changes and the epochs' means after three steps in each of two epochs."""
    torch._dynamo.reset()
    ours = task(device)
    parameters = list(ours.trainable_module.parameters())
    before = [parameter.detach().clone() for parameter in parameters]
    optimizer = torch.optim.SGD(parameters, lr=1e-4)
    if arguments is not None:
        ours.compile(**arguments, fullgraph=True)
    ours.train()
    metrics, graphs = [], []
    for epoch in (0, 1):
        ours.set_epoch(epoch)
        for number in range(STEPS):
            torch.compiler.cudagraph_mark_step_begin()
            loss = ours(*batch(device, seed=number))["loss"]
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        metrics.append(ours.epoch_metrics())
        graphs.append(counters["stats"]["unique_graphs"])
    changes = [
        (after.detach() - start).double().cpu().flatten()
        for after, start in zip(parameters, before)
    ]
    return torch.cat(changes), metrics, graphs


@pytest.fixture(scope="module")
def eager():
    from .conftest import DEVICE, set_tf32

    set_tf32(False)
    return trained(DEVICE)


@pytest.mark.parametrize("mode", ["default", "reduce-overhead"])
def test_compiled_steps_train_as_eager_ones(device, eager, mode):
    if device == "cpu" and mode != "default":
        pytest.skip("CUDA graphs need a GPU")
    counters.clear()
    changes, metrics, graphs = trained(device, compiler(device, mode))
    expected_changes, expected, _ = eager
    assert off(changes, expected_changes) < 1e-2
    for got, row in zip(metrics, expected):
        assert got == pytest.approx(row, rel=1e-3)
    assert graphs[0] > 0 and graphs[1] == graphs[0]


def test_cuda_graphs_are_recorded(device):
    """Else 'reduce-overhead' would be 'default' under another name."""
    if device == "cpu":
        pytest.skip("CUDA graphs need a GPU")
    counters.clear()
    trained(device, compiler(device, "reduce-overhead"))
    assert counters["inductor"]["cudagraph_skips"] == 0
