"""Tables, on made-up runs whose numbers are written here."""

import pytest

from aal_plugin.report.tables import (
    cost_table,
    facts_table,
    localization_table,
    numbers_table,
    results_table,
    spread,
)

from .made_up_runs import curve, record


def rows(table):
    """The head of a table, and its rows by their first cell."""
    return list(table.heads), {row[0]: list(row[1:]) for row in table.rows}


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ([2.0, None, 4.0], "3.0 ± 1.4%"),  # the sample's deviation, √2
        ([0.0, 0.0], "0.0 ± 0.0%"),
        ([12345.6], "12,345.6%"),
        ([None], "not recorded"),
    ],
)
def test_spread_is_mean_and_deviation_of_the_values_that_exist(values, words):
    assert spread(values, "%") == words


def test_results_are_the_last_and_the_best_epoch():
    def seed(number, *top1, teacher=95):
        curves = {"accuracy/top1": curve(*top1), "accuracy/teacher_top1": curve(teacher, teacher)}
        return record({**curves, "loss": curve(*range(5))}, seed=number)

    groups = {
        "aal": [seed(0, 10, 40, 30), seed(3, 20, 70, 50)],
        "timm": [record({"loss": curve(2)}, unit="iteration", front_end="timm", seed=4)],
    }
    head, body = rows(results_table(groups))
    assert head[1:] == [
        *("last top-1", "best top-1", "teacher's top-1", "length", "runs", "trained with")
    ]
    assert body["aal"] == [
        *("40.0 ± 14.1%", "55.0 ± 21.2%", "95.0 ± 0.0%", "5 epochs", "2 (seeds 0, 3)"),
        "MMPretrain",
    ]
    none = "not recorded"
    assert body["timm"] == [none, none, none, "1 iteration", "1 (seed 4)", "timm"]


def test_facts_that_a_group_lacks_are_marked():
    groups = {
        "a": [record(facts={"Student": "ViT", "Links": "full"}, versions={"PyTorch": "2.6"})],
        "b": [record(facts={"Student": "PiT", "Data": "CUB"}), record(facts={"Student": "no"})],
    }
    head, body = rows(facts_table(groups))
    assert head == ["", "a", "b"]
    assert list(body.items()) == [
        ("Student", ["ViT", "PiT"]),
        ("Links", ["full", "–"]),
        ("Data", ["–", "CUB"]),
        ("PyTorch", ["2.6", "not recorded"]),
    ]


def test_numbers_have_the_unit_and_the_range_of_seeds():
    seeds = [record({"accuracy/top1": curve(*v)}) for v in ([10, 20.123456], [20, 20.123456])]
    other = record({"accuracy/top1": curve(7, first=2)}, unit="iteration")
    table = numbers_table({"a": seeds, "b": [other]}, "accuracy/top1")
    assert table.caption == "Validation top-1 (%)"
    expected = {"1": ["15 (10 to 20)", "–"], "2": ["20.12", "7"]}
    assert rows(table) == (["epoch / iteration", "a", "b"], expected)
    table = numbers_table({"a": [record({"loss": curve(1)})]}, "loss")
    assert table.caption == "Training loss of the labels" and table.heads == ("epoch", "a")


def test_localisation_is_that_of_the_test_where_there_was_one():
    logged = {"localization/iou": curve(10, 30), "localization/maxbox": curve(40, 50)}
    groups = {
        "plain": [record({"loss": curve(1)})],
        "aal": [
            record(logged, tested={"localization/iou": 61.0, "accuracy/top1": 3.0}),
            record(logged, tested={"localization/gt": 9.0}),
        ],
    }
    head, body = rows(localization_table(groups))
    assert head == ["", "aal"]
    assert body == {
        "localization/iou": ["45.5 ± 21.9"],
        "localization/maxbox": ["50.0 ± 0.0"],
        "localization/gt": ["9.0"],
    }
    assert localization_table({"plain": groups["plain"]}) is None


def test_cost_is_the_median_step_the_clock_and_the_highest_memory():
    timed = {"time": curve(0.5, 9.0, 0.25), "memory": curve(100, 3000, 200)}
    groups = {
        "clock": [record(timed, batch_size=16, seconds=90.0, steps=1000)],
        "steps": [record(timed, batch_size=None, steps=360)],
        "none": [record({"loss": curve(1)}, batch_size=16, steps=10)],
    }
    _, body = rows(cost_table(groups))
    none = "not recorded"
    assert body == {
        "clock": ["0.500 s", "32", "1.5 min", "3,000 MB"],
        "steps": ["0.500 s", none, "3.0 min", "3,000 MB"],
        "none": [none, none, none, none],
    }
