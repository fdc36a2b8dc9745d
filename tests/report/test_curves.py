"""Figures of curves, on made-up runs whose numbers are written here."""

import pytest

pytest.importorskip("plotly", reason="the report needs Plotly: pip install plotly")

from aal_plugin.report.figures import DASHES, MARKERS, curve_panels

from .made_up_runs import curve, record


def figures(groups):
    return {panel.key: panel.figure for panel in curve_panels(groups)}


def traces(figure, role="mean"):
    return [trace for trace in figure.data if trace.meta["role"] == role]


def test_panels_are_those_of_the_logged_numbers_in_the_pages_order():
    curves = {"link_weight": curve(2000, 1000), "other": curve(1), "accuracy/top1": curve(10, 20)}
    panels = curve_panels({"a": [record(curves)], "b": [record({"loss": curve(2, 1)})]})
    assert [(panel.key, panel.title, panel.unit) for panel in panels] == [
        ("accuracy/top1", "Validation top-1", "%"),
        ("loss", "Training loss of the labels", ""),
        ("link_weight", "Link weight λ", ""),
    ]
    assert [list(panel.rows) for panel in panels] == [["a"], ["b"], ["a"]]


def test_seeds_without_a_common_epoch_have_no_curve():
    early, late = record({"loss": curve(3, 2)}), record({"loss": curve(1, first=5)})
    assert curve_panels({"a": [early, late]}) == []
    (panel,) = curve_panels({"a": [early, late], "b": [early]})
    assert list(panel.rows) == ["b"]


def test_band_goes_from_the_lowest_to_the_highest_seed():
    seeds = [record({"accuracy/top1": curve(*values)}) for values in ([10, 40], [20, 20], [30, 30])]
    figure = figures({"a": seeds})["accuracy/top1"]
    (low,), (high,), (mean,) = (traces(figure, role) for role in ("low", "high", "mean"))
    assert (low.y, high.y, mean.y) == ((10, 20), (30, 40), (20, 30))
    # Plotly fills between a trace and the one before it.
    names = [trace.meta["role"] for trace in figure.data]
    assert names.index("high") == names.index("low") + 1
    assert (high.fill, low.fill) == ("tonexty", None)
    assert low.hoverinfo == high.hoverinfo == "skip"
    assert [tuple(seeds) for seeds in mean.customdata] == [(10, 30), (20, 40)]
    assert mean.hovertemplate == "%{y:.4~g}% (%{customdata[0]:.4~g} to %{customdata[1]:.4~g})"
    assert mean.meta["runs"] == 3
    assert {trace.legendgroup for trace in figure.data} == {"a"}


def test_one_seed_has_neither_band_nor_range():
    figure = figures({"a": [record({"link_distance": curve(0.2, 0.1)})]})["link_distance"]
    (trace,) = figure.data
    assert (trace.hovertemplate, trace.meta["runs"]) == ("%{y:.4~g}", 1)


def test_teachers_line_is_in_the_figure_of_top1_alone_and_belongs_to_its_group():
    curves = {"accuracy/top1": curve(10, 20), "loss": curve(2, 1)}
    taught = record({**curves, "accuracy/teacher_top1": curve(90, 90)})
    found = figures({"plain": [record(curves)], "aal": [taught, taught]})
    assert traces(found["loss"], "teacher") == []
    (teacher,) = traces(found["accuracy/top1"], "teacher")
    assert (teacher.name, teacher.legendgroup, teacher.meta["group"]) == (
        "teacher of aal",
        "aal",
        1,
    )
    assert (teacher.x, teacher.y, teacher.hovertemplate) == ((1, 2), (90, 90), "%{y:.4~g}%")


def test_groups_differ_in_dash_and_marker_and_keep_theirs_in_every_figure():
    names = [f"group {number}" for number in range(len(DASHES) + 2)]
    curves = {"loss": curve(2, 1), "accuracy/top1": curve(10, 20)}
    groups = {name: [record(curves)] for name in names}
    groups["group 1"] = [record({"accuracy/top1": curve(10, 20)})]
    found = figures(groups)
    for figure in found.values():
        for trace in traces(figure):
            number = names.index(trace.name)
            assert trace.meta["group"] == number
            assert trace.line.dash == DASHES[number % len(DASHES)]
            assert trace.marker.symbol == MARKERS[number % len(MARKERS)]
    assert len(traces(found["loss"])) == len(names) - 1
    # The page's seven colours follow meta.group, so seven groups differ even in grey.
    styles = [(t.line.dash, t.marker.symbol) for t in traces(found["accuracy/top1"])]
    assert len(set(styles[:7])) == 7


@pytest.mark.parametrize(("epochs", "mode"), [(60, "lines+markers"), (61, "lines")])
def test_long_curves_have_no_markers(epochs, mode):
    (trace,) = figures({"a": [record({"loss": curve(*range(epochs))})]})["loss"].data
    assert trace.mode == mode


def test_axes_start_at_zero_but_that_of_the_loss_and_have_units():
    curves = {"loss": curve(2, 1), "accuracy/top1": curve(10, 20), "link_distance": curve(1, 1)}
    found = figures({"a": [record(curves)], "b": [record(curves, unit="iteration")]})
    ranges = {key: figure.layout.yaxis.rangemode for key, figure in found.items()}
    assert ranges == {"accuracy/top1": "tozero", "loss": "normal", "link_distance": "tozero"}
    suffixes = {key: figure.layout.yaxis.ticksuffix for key, figure in found.items()}
    assert suffixes == {"accuracy/top1": "%", "loss": "", "link_distance": ""}
    for figure in found.values():
        assert figure.layout.xaxis.title.text == "epoch / iteration"
        assert figure.layout.xaxis.rangemode == "tozero"
