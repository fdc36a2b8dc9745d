"""How torch before 2.6 reads files: the same files, through the reader that stands in there."""

import io
import os
import pickle
import zipfile
from argparse import Namespace

import numpy as np
import pytest
import torch

from aal_plugin import data_only, older_releases
from aal_plugin.analysis.saved_links import load_as_data
from aal_plugin.core import TimmTeacher


class Running:
    """Writes a file when it is unpickled."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return os.mkdir, (str(self.path),)


@pytest.fixture
def older(monkeypatch):
    monkeypatch.setattr(data_only, "READS_DATA", False)
    monkeypatch.setenv("AAL_TRUST_FILES", "1")


def load(path, *listed):
    with data_only.data_only(listed):
        return torch.load(path)


@pytest.mark.parametrize("zipped", [True, False])
def test_tensors_and_what_is_listed_are_read_and_nothing_else(tmp_path, older, zipped):
    saved = dict(
        weight=torch.nn.Parameter(torch.randn(2, 3).half()),
        mask=torch.tensor([True, False]),
        args=Namespace(model="vit"),
        names={"a"},
    )
    path = tmp_path / "c.pth"
    torch.save(saved, path, _use_new_zipfile_serialization=zipped)
    before = torch.load
    loaded = load(path, Namespace)
    assert torch.load is before and loaded["args"] == saved["args"] and loaded["names"] == {"a"}
    assert torch.equal(loaded["weight"], saved["weight"])
    assert torch.equal(loaded["mask"], saved["mask"])
    with pytest.raises(pickle.UnpicklingError, match="GLOBAL argparse.Namespace"):
        load(path)


@pytest.mark.parametrize("zipped", [True, False])
def test_nothing_in_a_file_runs_as_code(tmp_path, older, zipped):
    path, made = tmp_path / "c.pth", tmp_path / "made"
    torch.save(dict(a=Running(made)), path, _use_new_zipfile_serialization=zipped)
    with pytest.raises(pickle.UnpicklingError, match=r"GLOBAL \w+\.mkdir"):
        load(path)
    with pytest.raises(ValueError, match="holds more than weights"):
        load_as_data(str(path))
    assert not made.exists()


def test_a_file_changes_no_class(tmp_path, older):
    # GLOBAL argparse.Namespace, then BUILD with a state: written by hand, as no pickler does.
    state = pickle.dumps((None, dict(changed=True)), protocol=2)[2:-1]
    code = b"\x80\x02cargparse\nNamespace\n" + state + b"b."
    reader = older_releases._reader({"argparse.Namespace": Namespace})
    with pytest.raises(pickle.UnpicklingError, match="a state for a class"):
        reader.load(io.BytesIO(code))
    assert not hasattr(Namespace, "changed")


def test_programs_of_torchscript_are_rejected(tmp_path, older):
    torch.save(dict(weight=torch.zeros(1)), tmp_path / "c.pth")
    with zipfile.ZipFile(tmp_path / "c.pth", "a") as archive:
        archive.writestr("c/constants.pkl", b"")  # from which torch tells a program
    with pytest.raises(pickle.UnpicklingError, match="TorchScript"):
        load(tmp_path / "c.pth")


def test_the_own_runs_files_are_read_and_others_need_a_yes(tmp_path, older, monkeypatch):
    monkeypatch.delenv("AAL_TRUST_FILES")
    path = str(tmp_path / "c.pth")
    torch.save(dict(state_dict={}), path)
    with pytest.raises(PermissionError, match="c.pth' is in no folder of a run.*CVE.*FILES=1"):
        load_as_data(path)
    (tmp_path / "last_checkpoint").touch()
    assert load_as_data(path) == dict(state_dict={})
    with pytest.raises(PermissionError):
        load(io.BytesIO())


def test_what_mmengine_saves_is_read(tmp_path, older):
    logging = pytest.importorskip("mmengine.logging")
    from aal_plugin.mm.runs.as_data import load_as_data

    history = logging.HistoryBuffer([1.0, 2.0], [1, 1])
    torch.save(dict(loss=history, array=np.arange(3), time=np.float64(2)), tmp_path / "c.pth")
    loaded = load_as_data(str(tmp_path / "c.pth"))
    assert loaded["loss"].mean() == 1.5 and loaded["time"] == 2
    assert loaded["array"].tolist() == [0, 1, 2]


def test_a_teacher_reads_what_train_py_saved(tmp_path, older):
    teacher = TimmTeacher("test_resnet", allow_random_weights=True, fold_norms=False)
    weights = {key.removeprefix("model."): value for key, value in teacher.state_dict().items()}
    torch.save(dict(state_dict=weights, args=Namespace(lr=1)), tmp_path / "last.pth.tar")
    again = TimmTeacher("test_resnet", checkpoint=str(tmp_path / "last.pth.tar"), fold_norms=False)
    for key, value in teacher.state_dict().items():
        torch.testing.assert_close(again.state_dict()[key], value)
