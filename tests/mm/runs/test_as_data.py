"""Checkpoints that are read as data: what MMEngine saves, and what a crafted file may not do."""

import os
import pickle
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
import torch
from mmengine.logging import HistoryBuffer
from mmengine.optim import OneCycleLR

from aal_plugin.mm.runs.as_data import load_as_data, only_data

ROOT = Path(__file__).resolve().parents[3]
RECONSTRUCT = np.zeros(1).__reduce__()[0]
DTYPE = (3, "<", None, None, None, -1, -1, 0)


def read(tmp_path, saved):
    torch.save(saved, tmp_path / "c.pth")
    return load_as_data(str(tmp_path / "c.pth"))


def test_log_history_is_read(tmp_path):
    history = HistoryBuffer([1.0, 2.0], [1, 1])
    loaded = read(tmp_path, dict(loss=history, value=np.float64(3.0)))
    assert loaded["loss"].mean() == 1.5 and loaded["value"] == 3.0


def test_one_cycle_state_is_read(tmp_path):
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=0.1)
    schedule = OneCycleLR(optimizer, eta_max=0.1, total_steps=5)
    assert read(tmp_path, schedule.state_dict())["total_steps"] == 5


def test_other_attributes_stay_refused(tmp_path):
    with pytest.raises(ValueError, match="c.pth' holds more .*rejected: attribute .__init__"):
        read(tmp_path, Made(getattr, (HistoryBuffer, "__init__")))


ARRAYS = [
    np.arange(6, dtype=">i4").reshape(2, 3),
    np.asfortranarray(np.random.default_rng(0).random((3, 4))),
    np.array([True, False]),
    np.array(2.5, dtype="f2"),
    np.arange(4, dtype="u1"),
    np.array([1 + 2j]),
]


@pytest.mark.parametrize("array", ARRAYS, ids=[str(array.dtype) for array in ARRAYS])
def test_arrays_come_back_and_go_out_again_as_plain_ones(tmp_path, array):
    loaded = read(tmp_path, dict(array=array, number=array.dtype.type(1)))
    assert loaded["number"] == 1 and type(loaded["number"]) is array.dtype.type
    assert loaded["array"].dtype == array.dtype.newbyteorder("=")
    assert loaded["array"].shape == array.shape
    assert np.array_equal(loaded["array"], array)
    plain = pickle.loads(pickle.dumps(loaded["array"][...]))
    assert type(plain) is np.ndarray and np.array_equal(plain, array)


class Made:
    """Reads as the call of a function, and then this state, as a hostile file has it."""

    def __init__(self, *made):
        self.made = made

    def __reduce__(self):
        return self.made


def crafted(state, kind=np.ndarray, build=RECONSTRUCT):
    return Made(build, (kind, (0,), b"b"), state)


def typed(name, state=DTYPE):
    return Made(np.dtype, (name, False, True), state)


def number(*arguments):
    return Made(np.float64(1).__reduce__()[0], arguments)


HOSTILE = {
    "objects": crafted((1, (2,), typed("O8", (3, "|", None, None, None, -1, -1, 63)), False, [1])),
    "objects of bytes": crafted((1, (1,), typed("O8"), False, b"12345678")),
    "more than its data": crafted((1, (10**6,), typed("f8"), False, b"12345678")),
    "negative": crafted((1, (-1, -1), typed("f8"), False, b"12345678")),
    "beyond 64 bits": crafted((1, (2**62, 4), typed("f8"), False, b"")),
    "not a shape": crafted((1, 1, typed("f8"), False, b"12345678")),
    "fields": crafted((1, (1,), typed("V8", (3, "|", None, ("a",), {}, 8, 1, 0)), False, b"1" * 8)),
    "a large type": crafted(
        (1, (1,), typed("f8", (3, "<", None, None, {"a": 1}, 10**9, 1, 27)), False, b"1" * 8)
    ),
    "no type": crafted((1, (1,), "f8", False, b"12345678")),
    "short": crafted((1, (1,))),
    "a number of objects": number(typed("O8"), b"12345678"),
    "a number beyond its data": number(typed("f8"), b"1"),
    "memory of its own": crafted(None, build=np.ndarray),
}


READ = """
import sys
from aal_plugin.mm.runs.as_data import load_as_data
for path in sys.argv[1:]:
    try:
        print(path, repr(load_as_data(path)["loss"])[:60], flush=True)
    except ValueError as error:
        print(error, flush=True)
"""


def test_a_crafted_array_is_an_error_and_never_memory(tmp_path):
    """In a process of its own: NumPy's own functions end some of them with a SIGSEGV."""
    files = {name: str(tmp_path / f"{name}.pth") for name in HOSTILE}
    for name, file in files.items():
        torch.save(dict(state_dict={}, loss=HOSTILE[name]), file)
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", READ, *files.values()],
        capture_output=True, text=True, cwd=ROOT, timeout=300,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    told = [line for line in done.stdout.splitlines() if str(tmp_path) in line]
    assert len(told) == len(HOSTILE)
    for line in told:
        empty = "memory of its own" in line and "_Array([], dtype=uint8)" in line
        assert empty or "so it is not loaded" in line, line


def test_threads_that_load_at_the_same_time_all_load_data_only(monkeypatch):
    name = "TORCH_FORCE_WEIGHTS_ONLY_LOAD"
    monkeypatch.delenv(name, raising=False)

    def load(seconds, map_location):
        time.sleep(seconds)
        return os.environ.get(name)

    with ThreadPoolExecutor(3) as pool:
        assert list(pool.map(only_data(load), [0.1, 0.02, 0.2])) == ["1", "1", "1"]
    assert name not in os.environ


def test_a_loader_may_call_another_one():
    def load(filename, map_location):
        return os.environ.get("TORCH_FORCE_WEIGHTS_ONLY_LOAD")

    nested = only_data(lambda filename, map_location: only_data(load)(filename))
    with ThreadPoolExecutor(1) as pool:  # a lock that is not reentrant would wait for ever
        assert pool.submit(nested, "file").result(timeout=60) == "1"


def test_the_usual_workaround_with_mmengine_does_not_stop_it(tmp_path, monkeypatch):
    monkeypatch.setenv("TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD", "1")
    assert read(tmp_path, dict(value=1)) == dict(value=1)
    with pytest.raises(ValueError, match="so it is not loaded"):
        read(tmp_path, Made(getattr, (HistoryBuffer, "__init__")))
    assert os.environ["TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD"] == "1"


STATE = """
import os, signal, sys, warnings, logging
import mmengine, mmpretrain, timm, torch, numpy, mmpretrain.apis
from mmengine.runner import CheckpointLoader, FlexibleRunner, Runner
from torch.utils.data import DataLoader

def state():
    return dict(
        schemes={k: id(v) for k, v in CheckpointLoader._schemes.items()},
        allowed=set(map(str, torch.serialization.get_safe_globals())),
        environment=dict(os.environ),
        signals=[signal.getsignal(n) for n in signal.valid_signals() if n not in (9, 19)],
        build=[Runner.from_cfg.__func__, FlexibleRunner.from_cfg.__func__, Runner.train],
        loader=[DataLoader.__iter__, torch.load, torch.save],
        filters=list(warnings.filters),
        logging=(logging.root.level, list(logging.root.handlers)),
        torch=(torch.get_default_dtype(), torch.get_num_threads(), torch.get_rng_state().sum()),
        hooks=(sys.excepthook, sys.meta_path[:]),
    )

before = state()
import aal_plugin.mm
print([key for key, value in state().items() if value != before[key]])
import aal_plugin.mm.runs.protect
print(sorted(key for key, value in state().items() if value != before[key]))
"""


def test_importing_the_plugin_changes_nothing_and_one_more_line_protects():
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", STATE],
        capture_output=True, text=True, cwd=ROOT, timeout=300,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-2000:]
    first, then = done.stdout.splitlines()[-2:]
    assert first == "[]" and then == "['build', 'loader', 'schemes', 'signals']"
