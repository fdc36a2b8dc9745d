"""TensorBoard, Weights & Biases and MLflow: one line in a config, read back from their files."""

import re
import struct
import time
from pathlib import Path

import pytest
from mmengine.runner import Runner

from tests.mm.small import scalars, training

KEYS = ("loss_link", "link_distance", "link_weight", "loss", "accuracy/top1")


def tensorboard(work_dir):
    pytest.importorskip("tensorboard")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    (events,) = work_dir.glob("*/vis_data/events.out.tfevents.*")
    file = EventAccumulator(str(events))
    file.Reload()
    return {key: [entry.value for entry in file.Scalars(key)] for key in KEYS}


def wandb(work_dir):
    protocol = pytest.importorskip("wandb.proto.wandb_internal_pb2")
    (file,) = work_dir.glob("*/vis_data/wandb/offline-run-*/run-*.wandb")
    for _ in range(120):  # W&B writes from a process of its own
        records = [protocol.Record.FromString(r) for r in records_of(file.read_bytes())]
        if any(record.HasField("exit") for record in records):
            break
        time.sleep(0.5)
    values = {key: [] for key in KEYS}
    for record in records:
        for item in record.history.item:
            key = item.key or item.nested_key[0]
            if key in values:
                values[key].append(float(item.value_json))
    return values


def records_of(data):
    """The records of LevelDB's log format: blocks of 32 KiB, here after a header of 7 bytes."""
    at, record = 7, b""
    while at + 7 <= len(data):
        left = 32768 - at % 32768
        if left < 7:
            at += left
            continue
        _, length, part = struct.unpack_from("<IHB", data, at)
        record += data[at + 7 : at + 7 + length]
        at += 7 + length
        if at > len(data):  # not yet written to its end
            return
        if part in (1, 4):  # a whole record, or the last part of one
            yield record
            record = b""


def mlflow(work_dir):
    tracking = pytest.importorskip("mlflow.tracking")
    (folder,) = work_dir.glob("*/vis_data")
    client = tracking.MlflowClient(f"file://{folder}")
    (run,) = client.search_runs([client.get_experiment_by_name("Default").experiment_id])
    return {key: [m.value for m in client.get_metric_history(run.info.run_id, key)] for key in KEYS}


def lines_of_the_docs():
    """The settings of `visualizer` in docs/logging.md, by the type of their last back-end."""
    text = (Path(__file__).parents[2] / "docs" / "logging.md").read_text()
    blocks = re.findall(r"```python\nvisualizer = (.*?)```", text, re.DOTALL)
    settings = [eval(block, {"dict": dict}) for block in blocks]
    return {setting["vis_backends"][-1]["type"]: setting for setting in settings}


# Warnings of the three packages are not ours to mend.
@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(
    ("package", "backend", "read"),
    [
        ("tensorboard", "TensorboardVisBackend", tensorboard),
        ("wandb", "WandbVisBackend", wandb),
        ("mlflow", "MLflowVisBackend", mlflow),
    ],
)
def test_line_of_the_docs_logs_what_the_local_file_has(
    tmp_path, monkeypatch, package, backend, read
):
    pytest.importorskip(package)
    monkeypatch.chdir(tmp_path)  # W&B stores a copy of every .py below the current folder
    monkeypatch.setenv("WANDB_MODE", "offline")
    monkeypatch.setenv("WANDB_SILENT", "true")
    monkeypatch.setenv("MLFLOW_DISABLE_TELEMETRY", "true")
    monkeypatch.setenv("MLFLOW_ALLOW_FILE_STORE", "true")
    work_dir = tmp_path / "run"
    Runner.from_cfg(training(work_dir, visualizer=lines_of_the_docs()[backend])).train()
    local = scalars(work_dir)
    expected = {key: [line[key] for line in local if key in line] for key in KEYS}
    assert [len(expected[key]) for key in KEYS] == [8, 8, 8, 8, 2]
    assert expected["link_weight"] == [2000.0] * 4 + [1000.0] * 4
    found = read(work_dir)
    for key in KEYS:
        assert found[key] == pytest.approx(expected[key], rel=1e-6)
