import runpy
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from aal_plugin.analysis.agreement import disagreement, format_disagreement
from tests.mm.small import AAL, PLAIN, build, training

ROOT = Path(__file__).resolve().parents[2]


def test_shares_of_images_on_which_rows_differ():
    matrix = disagreement([[0, 1, 2, 3], [0, 1, 2, 0], [1, 1, 0, 0]])
    np.testing.assert_allclose(matrix, [[0, 0.25, 0.75], [0.25, 0, 0.5], [0.75, 0.5, 0]])
    assert format_disagreement(matrix[:1, :1], ["a"]).splitlines()[-1] == "| a | 0.000 |"


@pytest.mark.parametrize("rows", [[[0, 1], [0]], [[], []]])
def test_rows_of_other_images_are_an_error(rows):
    with pytest.raises(ValueError, match="rows of labels have lengths"):
        disagreement(rows)


def test_tool_compares_checkpoints_of_plain_and_aal_students(tmp_path, monkeypatch, capsys):
    arguments = [str(tmp_path / "out.png")]
    student = build(PLAIN).state_dict()
    for name, model in (("plain", PLAIN), ("aal", AAL)):
        config = training(tmp_path / name, model)
        config.test_dataloader = config.val_dataloader
        config.dump(tmp_path / f"{name}.py")
        saved = dict(state_dict=dict(build(model).state_dict(), **student))
        if name == "aal":  # as EMAHook saves: its averages first, the raw weights beside them
            raw = {f"module.{key}": weight for key, weight in saved["state_dict"].items()}
            saved.update(state_dict=build(model, seed=9).state_dict(), ema_state_dict=raw)
        torch.save(saved, tmp_path / f"{name}.pth")
        arguments += [str(tmp_path / f"{name}.py"), str(tmp_path / f"{name}.pth")]
    monkeypatch.setattr(sys, "argv", ["agreement.py", *arguments])
    runpy.run_path(str(ROOT / "tools" / "analysis" / "agreement.py"), run_name="__main__")
    table = capsys.readouterr().out
    assert "| | labels | plain | aal |" in table
    # The same student twice: they agree with each other, and not always with the labels.
    rows = [line.split(" | ") for line in table.splitlines()[2:]]
    assert rows[1][3].strip(" |") == "0.000" and rows[0][2:3] != ["0.000"]
    assert (tmp_path / "out.png").stat().st_size > 1000
