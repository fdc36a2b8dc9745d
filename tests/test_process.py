"""How processes of several ranks end: all in order, or after an error all at once."""

import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
SCRIPT = """
import atexit, os, sys, time
import torch, torch.distributed as dist
from torch import nn
from aal_plugin.process import leaving_in_order

rank = int(os.environ["RANK"])
atexit.register(lambda: print(f"rank {rank}: group at exit: {dist.is_initialized()}", flush=True))
started = time.time()

def main():
    dist.init_process_group("gloo")
    model = nn.parallel.DistributedDataParallel(nn.Linear(2, 2))
    model.cycle = dict(model=model)  # as a runner and its hooks hold each other
    model(torch.ones(1, 2)).sum().backward()
    %s

with leaving_in_order():
    main()
print(f"rank {rank} left after {time.time() - started:.1f} s")
"""


def run_ranks(body):
    """Exit status and output of each of two ranks that end with the lines of `body`."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = str(free.getsockname()[1])
    hidden = "import sys; sys.modules.update(mmengine=None, mmcv=None, mmpretrain=None)\n"
    ranks = [
        subprocess.Popen(
            [sys.executable, "-W", "ignore", "-c", hidden + SCRIPT % body],
            env=dict(
                os.environ,
                RANK=str(rank),
                WORLD_SIZE="2",
                MASTER_ADDR="127.0.0.1",
                MASTER_PORT=port,
                PYTHONPATH=str(ROOT),
            ),
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        for rank in (0, 1)
    ]
    texts = []
    for rank in ranks:
        try:
            texts.append(rank.communicate(timeout=600)[0])
        finally:
            rank.kill()
    return [rank.returncode for rank in ranks], texts


def test_ranks_wait_for_each_other_and_destroy_their_group():
    status, texts = run_ranks("time.sleep(2 * rank)")
    assert status == [0, 0], texts
    for rank, text in enumerate(texts):
        assert f"rank {rank}: group at exit: False" in text
        assert float(text.split(" left after ")[1].split()[0]) >= 2


@pytest.mark.parametrize(
    ("error", "status", "words"),
    [
        ("raise ValueError('a bad image')", 1, "ValueError: a bad image"),
        ("sys.exit(75)", 75, ""),
    ],
)
def test_a_rank_with_an_error_ends_at_once_and_so_do_those_that_wait_for_it(error, status, words):
    status_of, texts = run_ranks(
        f"\n    if rank == 1:\n        {error}\n    dist.all_reduce(torch.ones(1))"
    )
    assert status_of[1] == status and words in texts[1]
    assert status_of[0] == 1 and "Error" in texts[0]  # neither waits for half an hour nor aborts
    assert all(f"rank {rank}: group at exit" in text for rank, text in enumerate(texts))


def test_without_a_group_an_error_passes_through():
    from aal_plugin.process import leaving_in_order

    with pytest.raises(ValueError, match="as it is"), leaving_in_order():
        raise ValueError("as it is")
