import numpy as np

from aal_plugin.analysis.link_records import append_record, read_records


def record(work_dir, run, epochs, value):
    for epoch in epochs:
        append_record(work_dir / run / "vis_data", epoch, np.array([[value, np.nan]]))


def test_records_of_a_resumed_run_replace_those_from_its_first_epoch(tmp_path):
    record(tmp_path, "20260101_000000", range(6), 0.1)
    record(tmp_path, "20260102_000000", (4, 5, 6), 0.2)  # resumed from epoch 3
    records = read_records(tmp_path)
    assert {epoch: strength[0, 0] for epoch, strength in records.items()} == {
        0: 0.1, 1: 0.1, 2: 0.1, 3: 0.1, 4: 0.2, 5: 0.2, 6: 0.2,
    }  # fmt: skip
    assert np.isnan(records[6][0, 1])


def test_run_begun_anew_forgets_the_earlier_one(tmp_path):
    record(tmp_path, "20260101_000000", range(6), 0.1)
    record(tmp_path, "20260102_000000", range(2), 0.2)
    assert sorted(read_records(tmp_path)) == [0, 1]


def test_work_dir_without_records_has_none(tmp_path):
    assert read_records(tmp_path) == {}
