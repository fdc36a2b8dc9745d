"""Each warning on a run that has its fault, and none on a healthy one."""

import dataclasses

import numpy as np
import pytest

from aal_plugin.report.checks import warnings_of

from .made_up_runs import curve, record

HEALTHY = record(
    {
        "loss": curve(2, 1, 0.5),
        "link_distance": curve(0.3, 0.2, 0.1),
        "link_weight": curve(2000, 1000, 500),
        "accuracy/top1": curve(10, 30, 60),
        "accuracy/teacher_top1": curve(90, 90, 90),
    },
    facts={"Teacher": "efficientnet_b3, pretrained weights"},
    planned=3,
    links={0: np.array([[0.1, np.nan], [0.1, 0.2]]), 3: np.array([[0.2, np.nan], [0.1, 0.3]])},
    teacher_own_top1=91.0,
)


def changed(curves=None, links=None, **fields):
    if links is not None:
        fields["links"] = HEALTHY.links._replace(by_epoch=links)
    return dataclasses.replace(HEALTHY, curves={**HEALTHY.curves, **(curves or {})}, **fields)


def test_healthy_run_has_no_warnings():
    assert warnings_of(HEALTHY) == []


def test_run_without_links_has_no_warnings():
    curves = {key: HEALTHY.curves[key] for key in ("loss", "accuracy/top1")}
    run = dataclasses.replace(HEALTHY, curves=curves, facts={}, teacher_own_top1=None)
    run = dataclasses.replace(run, links=run.links._replace(by_epoch={}))
    assert warnings_of(run) == []


@pytest.mark.parametrize(
    ("run", "words"),
    [
        (changed({"loss": curve(2, np.nan, 1)}), "loss is not finite from epoch 2 on"),
        (changed({"link_distance": curve(2, 1, np.inf)}), "link_distance is not finite from epoch"),
        (changed({"link_weight": curve(2000, 2000, 2000)}), "λ never decayed: it is 2000 in all 3"),
        (
            changed({"link_weight": curve(9, 9, 9)}, scheduled=False),
            "it is 9 in all 3 epochs. The config has no LambdaDecayHook",
        ),
        (changed({"link_weight": curve(2000)}, scheduled=False), "No LambdaDecayHook"),
        (changed({"link_distance": curve(0.2, 0.1, 0.2)}), "L_att did not fall: 0.2 at first"),
        (
            changed({"guidance_distance": curve(0.1, 0.3)}),
            "The guidance did not fall: 0.1",
        ),
        (
            changed({"accuracy/teacher_top1": curve(85.9, 85.9, 85.9)}),
            "is 85.9%, and its own run reached 91.0%, 5.1 points more",
        ),
        (
            changed({"accuracy/teacher_top1": curve(54, 54, 54)}, teacher_own_top1=None),
            "is 54.0%, and its student reached 60.0%, 6.0 points more",
        ),
        (changed(facts={"Teacher": "a (allow_random_weights True)"}), "Random teacher"),
        (
            changed(links={0: np.ones((3, 2)), 3: np.array([[2.0, 1], [1, 1], [1, 2]])}),
            "the links of level 2 did not change between epoch 0 and 3",
        ),
        (changed(planned=4), "the log ends at epoch 3 of 4"),
    ],
)
def test_fault_is_the_one_warning(run, words):
    (warning,) = warnings_of(run)
    assert words in warning


@pytest.mark.parametrize(
    "run",
    [
        changed({"accuracy/teacher_top1": curve(86.1, 86.1, 86.1)}),
        changed({"accuracy/teacher_top1": curve(56, 56, 56)}, teacher_own_top1=None),
        changed({"link_weight": curve(0, 0, 0), "link_distance": curve(*[np.nan] * 3)}),
    ],
)
def test_what_is_no_fault_has_no_warning(run):
    assert warnings_of(run) == []


def test_levels_that_are_dead_in_the_sheets_are_named():
    (warning,) = warnings_of(HEALTHY, dead_levels=(2, 5))
    assert "level 2, 5 are constant on every image" in warning
