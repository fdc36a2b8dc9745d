"""A few kills of each kind; `make test-reliability` runs more."""

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]


def matrix(*arguments):
    command = [sys.executable, "-W", "ignore", "-m", "tests.reliability.kill_matrix", *arguments]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=900)
    return done.returncode, done.stdout + done.stderr


@pytest.mark.parametrize("seed", [0, pytest.param(1, marks=pytest.mark.slow)])
def test_no_run_is_lost_and_all_end_alike(seed):
    kills = 12 if seed == 0 else 120
    status, text = matrix("--kills", str(kills), "--seed", str(seed))
    assert status == 0, text
    assert "| 0 | 0 |" in text.split("| all |")[1]


@pytest.mark.slow
def test_the_matrix_sees_what_mmengine_loses():
    status, text = matrix("--mmengine-alone", "--kills", "9", "--moments", "write", "step", "first")
    assert status == 1, text
    _, _, lost, stuck, equal = text.split("| all |")[1].split("|")[:5]
    assert int(stuck) + int(lost) > 0 and equal.split()[0] != equal.split()[2], text
