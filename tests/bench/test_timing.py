import itertools
import sys

import numpy as np
import pytest
import torch

from tools.bench.counting import count
from tools.bench.reading import reading
from tools.bench.timing import interleave, peak_memory


def test_steps_take_turns_and_the_first_of_a_round_changes():
    order = []
    steps = {name: (lambda name=name: order.append(name)) for name in "abc"}
    ticks = itertools.count()
    timings = interleave(steps, rounds=3, warmup=1, clock=lambda: float(next(ticks)))
    rounds = ["".join(order[i : i + 3]) for i in range(0, 12, 3)]
    assert [sorted(r) for r in rounds] == [list("abc")] * 4
    assert len({r[0] for r in rounds[1:]}) == 3
    assert all(len(timing.seconds) == 3 and timing.median == 1 for timing in timings.values())


def test_seconds_are_of_one_step_where_several_are_measured_together():
    calls = []
    ticks = iter([0.0, 8.0])
    timing = interleave(
        dict(a=lambda: calls.append(1)), 1, warmup=0, repeat=4, clock=lambda: next(ticks)
    )["a"]
    assert len(calls) == 4 and timing.seconds == [2.0] and timing.spread() == [2.0, 2.0]


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_peak_memory_is_what_a_step_takes_on_top():
    size = 64 * 2**20
    taken = peak_memory(lambda: np.ones(size, dtype=np.uint8).sum())
    if taken is None:
        pytest.skip("the kernel does not let the peak be reset")
    assert 0.9 * size < taken < 1.5 * size
    assert peak_memory(lambda: None) < 0.1 * size


def test_count_of_a_product():
    a, b = torch.randn(3, 4), torch.randn(4, 5).t().contiguous().t()
    counted = count(lambda: (a @ b).t().relu())
    assert counted.flops == 2 * 3 * 4 * 5
    assert counted.operations == 2  # the transposition is free
    assert counted.bytes == 4 * (12 + 20 + 15 + 15 + 15)


def test_an_expanded_tensor_is_read_once():
    row = torch.randn(1, 8)
    counted = count(lambda: row.expand(100, 8).sum())
    assert counted.bytes == 4 * (8 + 1)


def test_reading_counts_every_view_once_for_each_disk_and_number_of_workers(tmp_path):
    found = reading([(3, 4, 4), (5, 2, 2)], 1e-5, batch=4, workers=[0, 1], folder=str(tmp_path))
    assert found["entry_bytes"] == 8 * 8 + 3 * 16 + 5 * 4 and found["views"] == 75
    assert [(row["workers"], row["disk"]) for row in found["rows"]] == [
        (0, "cold"),
        (0, "warm"),
        (1, "cold"),
        (1, "warm"),
    ]
    assert all(row["images_per_second"] > 0 for row in found["rows"])
    assert not list(tmp_path.iterdir())
