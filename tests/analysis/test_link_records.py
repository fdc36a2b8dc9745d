import numpy as np
import pytest
import torch

from aal_plugin.analysis.link_records import RECORDS, append_record, link_history
from aal_plugin.analysis.links import GROWTH, LABEL


def record(work_dir, run, epochs, value):
    """Level 1 is linked to the two heads of block 1 alone: 1 / (2 √2) at the start."""
    for epoch in epochs:
        folder = work_dir / run / "vis_data"
        append_record(folder, epoch, np.array([[value, np.nan]]), [(1, 1)], [2, 2])


def strengths(work_dir):
    return {epoch: links[0, 0] for epoch, links in link_history(work_dir, True).by_epoch.items()}


def test_records_of_a_resumed_run_replace_those_from_its_first_epoch(tmp_path):
    record(tmp_path, "20260101_000000", range(6), 0.1)
    record(tmp_path, "20260102_000000", (4, 5, 6), 0.2)  # resumed from epoch 3
    assert strengths(tmp_path) == {0: 0.1, 1: 0.1, 2: 0.1, 3: 0.1, 4: 0.2, 5: 0.2, 6: 0.2}
    assert np.isnan(link_history(tmp_path).by_epoch[6][0, 1])


def test_records_of_a_run_resumed_after_the_clock_was_set_back_come_last(tmp_path):
    record(tmp_path, "20260102_000000", range(6), 0.1)
    record(tmp_path, "20260101_000000", (4, 5, 6), 0.2)
    assert strengths(tmp_path) == {0: 0.1, 1: 0.1, 2: 0.1, 3: 0.1, 4: 0.2, 5: 0.2, 6: 0.2}


def test_run_begun_anew_forgets_the_earlier_one(tmp_path):
    record(tmp_path, "20260101_000000", range(6), 0.1)
    record(tmp_path, "20260102_000000", range(2), 0.2)
    assert strengths(tmp_path) == {0: 0.2, 1: 0.2}


def test_measure_is_the_growth_since_the_start_or_the_magnitude(tmp_path):
    record(tmp_path, "20260101_000000", (3,), 0.5)
    history = link_history(tmp_path)
    assert history.by_epoch[3][0, 0] == pytest.approx(0.5 * 2 * 2**0.5)
    assert (history.label, link_history(tmp_path, absolute=True).label) == (GROWTH, LABEL)


def test_torn_lines_are_passed_over(tmp_path):
    record(tmp_path, "20260101_000000", range(3), 0.1)
    file = tmp_path / "20260101_000000" / "vis_data" / RECORDS
    file.write_text(file.read_text()[:-10] + '\n{"epoch": 7}\n[1]\n')
    assert strengths(tmp_path) == {0: 0.1, 1: 0.1}


def test_work_dir_without_records_and_checkpoints_has_none(tmp_path):
    assert link_history(tmp_path).by_epoch == {}


@pytest.mark.parametrize(("name", "epoch"), [("epoch_12.pth", 12), ("checkpoint-11.pth.tar", 12)])
def test_epochs_of_checkpoints_count_from_1(tmp_path, name, epoch):
    weights = {"link_head.links.0.weight": torch.full((1, 2, 1, 1), 0.5)}
    linked = dict(ranges=[(1, 1)], heads=[2, 2])
    torch.save(dict(state_dict=weights, meta=dict(attention_links=linked)), tmp_path / name)
    torch.save({}, tmp_path / "epoch_3.pth.part")
    (links,) = link_history(tmp_path).by_epoch.items()
    assert links[0] == epoch and links[1][0, 0] == pytest.approx(0.5 * 2 * 2**0.5)
