import os
import pickle
import time
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import torch
from mmengine.logging import HistoryBuffer
from mmengine.optim import OneCycleLR

from aal_plugin.mm.checkpoints.torch_load import allow_mmengine_checkpoints, only_data


@pytest.fixture(autouse=True)
def allowed():
    allow_mmengine_checkpoints()  # onedl's loader, in another test, may have taken it away


class Foreign:
    def __reduce__(self):
        return getattr, (HistoryBuffer, "__init__")


def test_log_history_is_read_with_weights_only(tmp_path):
    history = HistoryBuffer([1.0, 2.0], [1, 1])
    torch.save(dict(loss=history, value=np.float64(3.0)), tmp_path / "c.pth")
    loaded = torch.load(tmp_path / "c.pth", weights_only=True)
    assert loaded["loss"].mean() == 1.5 and loaded["value"] == 3.0


def test_one_cycle_state_is_read_with_weights_only(tmp_path):
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=0.1)
    schedule = OneCycleLR(optimizer, eta_max=0.1, total_steps=5)
    torch.save(schedule.state_dict(), tmp_path / "c.pth")
    assert torch.load(tmp_path / "c.pth", weights_only=True)["total_steps"] == 5


def test_other_attributes_stay_refused(tmp_path):
    torch.save(Foreign(), tmp_path / "c.pth")
    with pytest.raises(pickle.UnpicklingError, match="rejected: attribute .__init__"):
        torch.load(tmp_path / "c.pth", weights_only=True)


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
