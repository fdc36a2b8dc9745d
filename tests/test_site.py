"""The start page shows the README's code; the notebook runs, and is stored without output."""

from __future__ import annotations

import json
import re

import matplotlib.pyplot as plt
import pytest
import torch

from .pages import ROOT, anchors, blocks
from .test_words import old_phrases

README = ROOT / "README.md"
START = ROOT / "docs/index.md"
NOTEBOOK = ROOT / "docs/notebook.ipynb"
SMALLER = {
    "10_000": "200",
    "[:2000]": "[:50]",
    '"val", 1000': '"val", 50',
    "EPOCHS = 10": "EPOCHS = 2",
}


def cells(kind):
    """The text of the notebook's cells by their ids."""
    every = json.loads(NOTEBOOK.read_text(encoding="utf-8"))["cells"]
    return {cell["id"]: "".join(cell["source"]) for cell in every if cell["cell_type"] == kind}


def test_start_page_shows_whole_blocks_of_the_readme():
    lines = README.read_text(encoding="utf-8").splitlines(keepends=True)
    firsts = re.findall(r"^:start-at: (.+)$", START.read_text(encoding="utf-8"), re.M)
    assert len(firsts) == 4, "install, MMPretrain, timm, any loop"
    for first in firsts:
        start = next(number for number, line in enumerate(lines) if first in line)
        end = next(number for number in range(start, len(lines)) if "```" in lines[number])
        assert "".join(lines[start:end]) in [block.text for block in blocks(README)], first


def test_notebook_has_no_output():
    notebook = json.loads(NOTEBOOK.read_text(encoding="utf-8"))
    code = [cell for cell in notebook["cells"] if cell["cell_type"] == "code"]
    assert all(not cell["outputs"] and cell["execution_count"] is None for cell in code)
    assert set(notebook["metadata"]) == {"kernelspec", "language_info"}
    assert notebook["metadata"]["kernelspec"]["name"] == "python3", "Colab's and the docs' kernel"


def test_text_of_the_notebook_is_plain_and_its_links_lead_somewhere():
    for text in cells("markdown").values():
        assert not old_phrases(text)
        for target in re.findall(r"\]\(([^)\s]+)\)", text):
            page, _, anchor = target.partition("#")
            assert not anchor or anchor in anchors(NOTEBOOK.parent / page), target
            assert (NOTEBOOK.parent / page).is_file(), target


def test_code_of_the_notebook_runs_in_small(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    plt.switch_backend("agg")
    names = {}
    for name, text in cells("code").items():
        for large, small in SMALLER.items():
            text = text.replace(large, small)
        exec(compile(text, f"notebook, {name}", "exec"), names)
    plt.close("all")
    assert names["same"] and len(names["aal_curve"]) == 2
    saved = torch.load("student.pth", weights_only=True)
    assert saved.keys() == names["plain"].state_dict().keys()
    untrained = names["new_vit"]().state_dict()
    assert not any(saved[key].equal(untrained[key]) for key in saved if key.endswith("qkv.weight"))


@pytest.mark.slow
def test_notebook_runs_as_it_is(tmp_path):
    nbformat = pytest.importorskip("nbformat")
    nbclient = pytest.importorskip("nbclient")
    notebook = nbformat.read(NOTEBOOK, as_version=4)
    nbclient.NotebookClient(notebook, timeout=1800, cwd=str(tmp_path)).execute()
    printed = {
        cell["id"]: "".join(output.get("text", "") for output in cell.get("outputs", ()))
        for cell in notebook.cells
    }
    plain, aal = (float(printed[name].split()[-1]) for name in ("plain", "aal"))
    assert aal > plain + 10 and "the same logits: True" in printed["export"]
