"""Links are read from files of MMEngine and timm, with and without the packages that wrote them."""

import sys
from argparse import Namespace

import numpy as np
import pytest
import torch

from aal_plugin.analysis import link_share, link_strength, select_ranges
from aal_plugin.analysis.links import GROWTH, LABEL
from aal_plugin.analysis.saved_links import (
    RECORDS,
    append_record,
    link_history,
    load_as_data,
    read_links,
)
from tests.timm.small import task


def save(path, links=True, meta=True, **extra):
    """A checkpoint as MMEngine writes it, of a student with planted links."""
    weights = {"backbone.weight": torch.zeros(1)}
    for level in range(4 if links else 0):
        weight = torch.full((5, 6, 1, 1), 0.01)
        weight[:, 2:4] = -0.9  # block 2
        weights[f"link_head.links.{level}.weight"] = weight
    linked = dict(ranges=[(1, 3)] * 4, heads=[2, 2, 2])
    meta = dict(attention_links=linked) if meta else {}
    torch.save(dict(state_dict=weights, meta=meta, **extra), path)
    return str(path)


def save_timm(path, **changes):
    """A checkpoint as timm's train.py writes it; returns its task as well."""
    one = task(links="alpha")
    links = one.get_task_state()["links"]
    averaged = {name: weight + 1 for name, weight in links["state_dict"].items()}
    saved = dict(
        state_dict=one.get_eval_model().state_dict(),
        args=Namespace(model="vit"),
        task_state=dict(links=links),
        task_state_ema=dict(links=dict(links, state_dict=averaged)),
    )
    torch.save({**saved, **changes}, path)
    return str(path), one, links


def test_planted_links_are_read_without_building_the_model(tmp_path):
    links = read_links(save(tmp_path / "c.pth"))
    strength = link_strength(*links)
    assert strength.shape == (4, 3) and strength[:, 1].tolist() == pytest.approx([0.9] * 4)
    assert select_ranges(link_share(*links), 0.8) == [(2, 2)] * 4


def test_links_of_a_timm_run_are_those_of_its_task_and_of_its_average(tmp_path):
    path, one, links = save_timm(tmp_path / "last.pth.tar")
    found, ema = read_links(path), read_links(path, ema=True)
    assert found.ranges == links["ranges"] and found.heads == [2, 2, 2]
    for level, (name, weight) in enumerate(found.state_dict.items()):
        own = one.get_trainable_module().links[level].weight.detach()
        torch.testing.assert_close(weight, own)
        torch.testing.assert_close(ema.state_dict[name], own + 1)


@pytest.mark.parametrize("kept", [False, True])
def test_averaged_links_are_taken_when_asked_for(tmp_path, kept):
    # EMAHook swaps on saving, so that state_dict holds the average; KeptEMAHook does not.
    path = save(tmp_path / "c.pth")
    saved = torch.load(path)
    other = {f"module.{key}": value * 0 + 0.5 for key, value in saved["state_dict"].items()}
    saved["ema_state_dict"] = dict(other, steps=torch.tensor(3))
    saved["meta"]["raw_state_dict"] = kept
    torch.save(saved, path)
    averaged, raw = (0.5, 0.9) if kept else (0.9, 0.5)
    assert link_strength(*read_links(path, ema=True))[0, 1] == pytest.approx(averaged)
    assert link_strength(*read_links(path))[0, 1] == pytest.approx(raw)


def test_what_else_a_file_holds_is_passed_over(tmp_path, monkeypatch):
    """Logs, NumPy's numbers and options, without the package that wrote them."""
    mmengine = pytest.importorskip("mmengine")
    buffer = mmengine.logging.HistoryBuffer([1.0, 2.0], [1, 1])
    hub = dict(loss=buffer, best=np.float64(3.0), array=np.zeros(2), time=np.int64(1))
    files = save(tmp_path / "mm.pth", message_hub=hub), save_timm(tmp_path / "last.pth.tar")[0]
    for name in ("mmengine", "mmengine.logging"):
        monkeypatch.setitem(sys.modules, name, None)  # importing it is an error
    for file in files:
        assert read_links(file).heads == [2, 2, 2]


def test_loading_leaves_torchs_list_as_it_was(tmp_path):
    class Own:
        pass

    with torch.serialization.safe_globals([Own]):
        before = set(torch.serialization.get_safe_globals())
        read_links(save(tmp_path / "c.pth"))
        (tmp_path / "bad.pth").write_bytes(b"bad")
        with pytest.raises(ValueError):
            load_as_data(str(tmp_path / "bad.pth"))
        assert set(torch.serialization.get_safe_globals()) == before


def test_wrong_files_are_errors_that_name_them(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(FileNotFoundError, match=f"'no.pth': no such file in {tmp_path}"):
        read_links("no.pth")
    (tmp_path / "half.pth").write_bytes(b"PK")
    with pytest.raises(ValueError, match="half.pth' is cut short: its end is missing"):
        read_links("half.pth")
    with pytest.raises(ValueError, match="plain.pth' has no attention links: it was trained"):
        read_links(save("plain.pth", links=False))
    with pytest.raises(ValueError, match=r"no meta\['attention_links'\].*LinkHeatmapHook"):
        read_links(save("meta.pth", meta=False))
    with pytest.raises(ValueError, match="--ema: checkpoint .* has no averaged weights of EMAHook"):
        read_links(save("c.pth"), ema=True)
    path, _, _ = save_timm("last.pth.tar", task_state_ema=None)
    with pytest.raises(ValueError, match="--ema: checkpoint .*last.pth.tar' has no averaged links"):
        read_links(path, ema=True)
    no_links = [None, dict(state_dict=[1]), dict(state_dict={"a": 1})]
    for content in (
        *(dict(weight=torch.zeros(1)), [1], dict(state_dict=[1]), dict(meta=1)),
        *(dict(task_state=dict(links=links)) for links in no_links),
    ):
        torch.save(content, "bare.pth")
        with pytest.raises(ValueError, match="bare.pth' has no attention links"):
            read_links("bare.pth")


def test_nothing_in_a_file_runs_as_code(tmp_path):
    class Bad:
        def __reduce__(self):
            return (open, (str(tmp_path / "ran"), "w"))

    torch.save(dict(task_state=Bad()), tmp_path / "bad.pth")
    with pytest.raises(ValueError, match="bad.pth"):
        read_links(str(tmp_path / "bad.pth"))
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize(
    "wrong",
    [
        dict(heads=[1, 1, 1]),
        dict(ranges=[(1, 2)] * 3),
        dict(heads=[10**9] * 3),
        dict(ranges=[(1, 9)] * 4),
        dict(ranges=[(-3, 3)] * 4),  # Python counts -3 from the end
        dict(heads=None),
    ],
)
def test_what_a_file_says_of_its_links_is_checked(tmp_path, wrong):
    _, _, links = save_timm(tmp_path / "c.pth")
    path, _, _ = save_timm(tmp_path / "c.pth", task_state=dict(links=dict(links, **wrong)))
    with pytest.raises(ValueError, match=r"task_state\['links'\] does not describe the links"):
        read_links(path)


@pytest.mark.parametrize("wrong", [None, dict(state_dict=[1]), dict(state_dict={"a": 1})])
def test_links_that_are_no_links_are_refused_by_the_reader_and_by_the_task(tmp_path, wrong):
    path, one, links = save_timm(tmp_path / "c.pth", task_state=dict(links=wrong))
    with pytest.raises(ValueError, match="has no attention links"):
        read_links(path)
    if wrong:
        wrong = dict(links, **wrong)
    with pytest.raises(ValueError, match="the checkpoint's links cannot be loaded: "):
        one.load_task_state(dict(links=wrong))


# -- over the epochs -------------------------------------------------------------------------


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


@pytest.mark.parametrize(("name", "epoch"), [("epoch_12.pth", 12), ("checkpoint-11.pth.tar", 12)])
def test_epochs_of_checkpoints_count_from_1(tmp_path, name, epoch):
    weights = {"link_head.links.0.weight": torch.full((1, 2, 1, 1), 0.5)}
    linked = dict(ranges=[(1, 1)], heads=[2, 2])
    torch.save(dict(state_dict=weights, meta=dict(attention_links=linked)), tmp_path / name)
    torch.save({}, tmp_path / "epoch_3.pth.part")
    (links,) = link_history(tmp_path).by_epoch.items()
    assert links[0] == epoch and links[1][0, 0] == pytest.approx(0.5 * 2 * 2**0.5)
