import math

import pytest
import torch

from aal_plugin.core import link_distance, mean_link_distance


def slow_distance(augmented, activation):
    """Eq. 5 as loops: the mean over batch, channels and positions of squared differences."""
    total, count = 0.0, 0
    for a_sample, b_sample in zip(augmented, activation):
        for a, b in zip(a_sample, b_sample):
            a_norm = math.sqrt(sum(float(v) ** 2 for v in a.flatten()))
            b_norm = math.sqrt(sum(float(v) ** 2 for v in b.flatten()))
            for x, y in zip(a.flatten(), b.flatten()):
                total += (float(x) / a_norm - float(y) / b_norm) ** 2
                count += 1
    return total / count


def test_distance_equals_loop_reference_and_weighs_channels_alike():
    torch.manual_seed(0)
    levels = [(torch.randn(2, c, 3, 4).double(), torch.randn(2, c, 3, 4).double()) for c in (3, 5)]
    for a, b in levels:
        assert float(link_distance(a, b)) == pytest.approx(slow_distance(a, b), rel=1e-12)
    both = [torch.cat(side, dim=1) for side in zip(*levels)]
    whole = mean_link_distance(*zip(*levels))
    assert float(whole) == pytest.approx(slow_distance(*both), rel=1e-12)


def test_distance_is_two_minus_twice_the_cosine_over_the_positions():
    a, b = torch.randn(1, 1, 14, 14), torch.randn(1, 1, 14, 14)
    cosine = torch.cosine_similarity(a.flatten(), b.flatten(), dim=0)
    torch.testing.assert_close(link_distance(a, b), (2 - 2 * cosine) / 14**2)


def test_dead_channels_give_finite_loss_and_gradients():
    augmented = torch.zeros(1, 2, 3, 3, requires_grad=True)
    loss = link_distance(augmented, torch.zeros(1, 2, 3, 3))
    loss.backward()
    assert torch.isfinite(loss) and torch.isfinite(augmented.grad).all()
