"""Pages of runs with odd names, torn files, a CNN, and checkpoints that cannot be read."""

import numpy as np
import pytest
import torch
from mmengine.registry import init_default_scope
from mmpretrain.registry import MODELS

pytest.importorskip("plotly", reason="the report needs Plotly: pip install plotly")

from aal_plugin.analysis.link_records import append_record
from aal_plugin.report import write_report
from tests.mm.small import training

from .made_up_runs import write_work_dir
from .page_parts import PageParts


def linked_dir(folder, name):
    """A work dir with links at two epochs."""
    lines = [
        dict(epoch=e, step=e, iter=e, lr=0.1, loss=1.0, link_weight=9 - e, link_distance=0.1 / e)
        for e in (1, 2)
    ]
    written = write_work_dir(folder / name, lines=lines)
    for epoch in (1, 2):
        strength = np.full((2, 3), 0.1 * epoch)
        records = written / "20260101_000000" / "vis_data"
        append_record(records, epoch, strength, [(1, 3)] * 2, [2, 2, 2])
    return written


NAMES = ["a  b", "lr=0.1", "</script><script>x", "<!--<script>", "$x$ {{ 1 }} \"'", "&amp;"]


@pytest.fixture(scope="module")
def odd(tmp_path_factory):
    """Runs whose names and paths have signs that mean something to a shell or to HTML."""
    folder = tmp_path_factory.mktemp("odd")
    runs = [f"{name}={linked_dir(folder, f'{i} links=full')}" for i, name in enumerate(NAMES)]
    same = [f"same={linked_dir(folder, f'same {i}')}" for i in range(2)]
    write_report([*runs, *same], folder / "report.html", images=0)
    return folder / "report.html"


def test_names_and_paths_may_have_any_sign(odd):
    page = PageParts(odd.read_text(encoding="utf-8"))
    buttons = [attrs["data-group"] for tag, attrs in page.tags if tag == "button"]
    assert buttons == [*NAMES, "same"]
    names = [chart["name"] for chart in page.figures["links-figure"]]
    assert names == [*NAMES, "same, run 1", "same, run 2"]
    # A browser shortens double spaces in an option's text: the choice is a number.
    options = [attrs["value"] for tag, attrs in page.tags if tag == "option"]
    assert options == [str(number) for number in range(len(names))]
    assert [row[0] for row in page.tables[0][1:]] == [*NAMES, "same"]
    assert sum(tag == "script" for tag, _ in page.tags) == 3 + 1 + 2  # curves, links, code


def test_run_whose_files_a_crash_left_incomplete_is_shown(tmp_path):
    run = linked_dir(tmp_path, "run")
    for name in ("scalars.json", "link_strength.json"):
        with open(run / "20260101_000000" / "vis_data" / name, "a") as file:
            file.write('{"epoch": 3, "step')
    (run / "result.json").write_text('{"seconds": 1')
    write_report([run], tmp_path / "report.html", images=0)
    page = PageParts((tmp_path / "report.html").read_text(encoding="utf-8"))
    assert page.curve("link_weight")["data"][0]["y"] == [8, 7]
    assert page.figures["links-figure"][0]["epochs"] == [1, 2]


def test_cnn_is_not_told_that_its_attention_cannot_be_read(tmp_path):
    cnn = dict(type="ResNet", depth=18)
    head = dict(type="LinearClsHead", num_classes=10, in_channels=512)
    neck = dict(type="GlobalAveragePooling")
    model = dict(type="ImageClassifier", backbone=cnn, neck=neck, head=head)
    config = training(tmp_path / "cnn", model)
    folder = write_work_dir(tmp_path / "cnn")
    config.dump(folder / "20260101_000000" / "vis_data" / "config.py")
    init_default_scope("mmpretrain")
    torch.save(dict(state_dict=MODELS.build(model).state_dict(), meta={}), folder / "epoch_1.pth")
    write_report([folder], tmp_path / "report.html", images=1)
    text = PageParts((tmp_path / "report.html").read_text()).sections["attention"]
    assert "ResNet has no attention to show, as a CNN has none." in text
    assert "could not be drawn" not in text


def test_checkpoint_that_cannot_be_read_is_named_where_the_links_would_be(tmp_path):
    run = linked_dir(tmp_path, "run")
    (run / "20260101_000000" / "vis_data" / "link_strength.json").unlink()
    (run / "epoch_2.pth").write_bytes(b"PK")
    write_report([run], tmp_path / "report.html", images=0)
    text = PageParts((tmp_path / "report.html").read_text()).sections["links"]
    assert "The links cannot be shown: checkpoint" in text and "epoch_2.pth' is cut short" in text
