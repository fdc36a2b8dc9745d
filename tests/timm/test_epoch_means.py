import math

import torch

from aal_plugin.timm.epoch_means import EpochMeans


def test_means_are_over_the_steps_that_had_the_number():
    means = EpochMeans()
    for step, value in enumerate((2.0, 4.0, 9.0)):
        means.add("loss", torch.tensor(value, requires_grad=True))
        if step == 1:
            means.add("link_distance", torch.tensor(0.5))
    assert means.mean("loss") == 5.0
    assert means.mean("link_distance") == 0.5
    assert math.isnan(means.mean("distill_loss"))


def test_sums_share_no_memory_with_a_steps_outputs():
    """A CUDA graph overwrites its outputs in the next step."""
    means = EpochMeans()
    distance = torch.tensor(3.0)
    means.add("link_distance", distance)
    distance.zero_()
    means.add("link_distance", torch.tensor(5.0))
    assert means.mean("link_distance") == 4.0


def test_sums_keep_no_graph():
    means = EpochMeans()
    weight = torch.ones(3, requires_grad=True)
    means.add("loss", weight.sum())
    assert not means._sums["loss"].requires_grad
