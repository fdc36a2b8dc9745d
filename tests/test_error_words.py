"""An error's words, for the one who made the mistake; its traceback, for the one who mends code."""

import subprocess
import sys
from pathlib import Path

import pytest
import torch
from torch.utils.data import DataLoader

from aal_plugin.process import in_words, plain_errors, searched_in

ROOT = Path(__file__).resolve().parents[1]


def left(capsys, raise_it):
    with pytest.raises(SystemExit) as ended, plain_errors():
        raise_it()
    return ended.value.code, capsys.readouterr().err


def raising(error):
    def raise_it():
        raise error

    return raise_it


def test_a_mistake_is_a_line_and_status_2(capsys, monkeypatch):
    monkeypatch.setattr(sys, "argv", ["tools/train.py"])
    monkeypatch.delenv("RANK", raising=False)
    status, text = left(capsys, raising(ValueError("links=5; choose full")))
    assert (status, text) == (2, "train.py: error: links=5; choose full\n")
    monkeypatch.setenv("RANK", "3")
    assert left(capsys, raising(ValueError("no")))[1] == "train.py: error (rank 3): no\n"


def test_words_that_tell_little_have_their_kind_beside_them(capsys):
    _, text = left(capsys, raising(KeyError("model")))
    assert "KeyError: 'model' (set AAL_TRACEBACK=1 to see the traceback)" in text
    _, text = left(capsys, lambda: open("/no/such/file"))
    assert "/no/such/file: No such file or directory" in text


def test_a_relative_path_is_told_with_the_folder_that_was_searched(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert searched_in("a/b.pth") == f" in {tmp_path}"
    assert searched_in(tmp_path / "b.pth") == searched_in("~/b.pth") == ""


def test_the_traceback_is_there_for_who_asks(monkeypatch):
    monkeypatch.setenv("AAL_TRACEBACK", "1")
    with pytest.raises(ValueError, match="no"), plain_errors():
        raise ValueError("no")


def test_an_error_within_a_step_keeps_its_traceback():
    def train_step():
        raise ValueError("shapes do not match")

    with pytest.raises(ValueError, match="shapes"), plain_errors():
        train_step()


class Bad(torch.utils.data.Dataset):
    def __len__(self):
        return 2

    def __getitem__(self, index):
        raise ValueError("image a.png failed to load")


def test_a_workers_traceback_is_left_out():
    with pytest.raises(ValueError) as error:
        list(DataLoader(Bad(), num_workers=1))
    assert "Traceback" in str(error.value)
    assert in_words(error.value) == "image a.png failed to load"


def test_a_registrys_prefixes_are_left_out():
    words = (
        "class `AALClassifier` in aal_plugin/mm/models/classifier.py: class `T` in a.py: no weights"
    )
    assert in_words(ValueError(words)) == "no weights"


@pytest.mark.slow
def test_every_row_of_bad_inputs_is_told_as_it_should_be():
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-m", "tests.reliability.bad_inputs"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=1200,
    )
    assert done.returncode == 0, done.stdout[-5000:] + done.stderr[-3000:]
    assert int(done.stdout.split()[0]) >= 150
