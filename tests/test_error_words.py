"""An error's words, for the one who made the mistake; its traceback, for the one who mends code."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from torch.utils.data import DataLoader

from aal_plugin import process
from aal_plugin.process import in_words, plain_errors, searched_in

ROOT = Path(__file__).resolve().parents[1]


def left(capsys, raise_it):
    with pytest.raises(SystemExit) as ended, plain_errors():
        raise_it()
    return ended.value.code, capsys.readouterr().err


def raising(error, file=process.__file__):
    """A function of a file, by default one of ours, that raises an error."""
    made = {"error": error}
    exec(compile("def raise_it():\n    raise error", file, "exec"), made)
    return made["raise_it"]


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
    _, text = left(
        capsys, raising(FileNotFoundError(2, "No such file or directory", "/no/such/file"))
    )
    assert "/no/such/file: No such file" in text


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


def test_an_error_of_an_installed_package_says_how_to_see_where_it_was(capsys):
    _, text = left(capsys, raising(ValueError("bad"), pytest.__file__))
    assert text.endswith("error: bad (set AAL_TRACEBACK=1 to see the traceback)\n")


@pytest.mark.parametrize("how", ["itself", "through a library", "as a cause", "in a worker"])
def test_an_error_of_a_labs_own_code_keeps_its_traceback(tmp_path, how):
    (tmp_path / "lab.py").write_text("def hook():\n    raise ValueError('the lab knows')\n")
    lab = raising(ValueError("the lab knows"), str(tmp_path / "lab.py"))
    if how == "through a library":  # numpy raises it, the lab called it
        made = {"np": np}
        text = "def hook():\n    np.zeros((2, 3)).reshape(5)"
        exec(compile(text, str(tmp_path / "lab.py"), "exec"), made)
        lab = made["hook"]
    elif how == "as a cause":
        made = {"inner": lab}
        text = (
            "def outer():\n"
            "    try:\n"
            "        inner()\n"
            "    except ValueError as error:\n"
            "        raise ValueError('image a.png failed to load') from error\n"
        )
        exec(compile(text, process.__file__, "exec"), made)
        lab = made["outer"]
    elif how == "in a worker":
        told = f'Caught.\nOriginal Traceback (most recent):\n  File "{tmp_path}/lab.py", line 2'
        lab = raising(ValueError(told))
    with pytest.raises(ValueError), plain_errors():
        lab()


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
