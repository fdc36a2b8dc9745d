import math
import re
from fractions import Fraction

import pytest

from aal_plugin.core import check_schedule, link_weight, paper_course
from aal_plugin.core.losses.schedule import PAPER_FINAL


def slow_weight(epoch, base, gammas, milestones):
    weight = base
    for past in range(epoch):
        weight *= gammas[sum(past >= m for m in milestones)]
    return weight


@pytest.mark.parametrize(
    ("gammas", "milestones"), [((0.99, 0.98), (200,)), ((0.99,), ()), ((0.9, 0.5, 1.0), (3, 7))]
)
def test_weight_is_the_product_of_past_gammas(gammas, milestones):
    for epoch in (0, 1, 2, 3, 4, 7, 8, 199, 200, 201, 299):
        expected = slow_weight(epoch, 2000.0, gammas, milestones)
        assert link_weight(epoch, 2000.0, gammas, milestones) == pytest.approx(expected)


def test_weight_is_zero_from_the_stop_epoch_on():
    assert link_weight(4, 2000.0, (0.99,), stop_epoch=5) > 0
    assert link_weight(5, 2000.0, (0.99,), stop_epoch=5) == 0


def test_weight_is_zero_before_the_start_epoch_and_decays_from_epoch_0():
    weights = [link_weight(e, 8.0, (0.5,), stop_epoch=4, start_epoch=2) for e in range(6)]
    assert weights == [0, 0, 2, 1, 0, 0]


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        (((0.99, 0.98), ()), "0 milestones need 1 gammas, got 2"),
        (((0.99,), (200,)), "1 milestones need 2 gammas, got 1"),
        (((1.01,), ()), r"every gamma must be a number in \[0, 1\]"),
        (((0.9, 0.9), (2.5,)), "every milestone must be an epoch, a whole number"),
        (((0.9, 0.9, 0.9), (20, 10)), "ascending order"),
        (((0.9, 0.9), (0,)), "positive epochs"),
        ((0.9, (), -1), "stop_epoch=-1; choose a whole number, 0 or more"),
        ((0.9, (), None, True), "start_epoch=True; choose a whole number, 0 or more"),
        ((0.9, (), 5, 5), "start_epoch=5, stop_epoch=5: λ would be 0 in every epoch"),
        ((0.9, (), None, 0, 2.5), "warmup_epochs=2.5; choose a whole number"),
    ],
)
def test_bad_schedules_are_named(settings, words):
    with pytest.raises(ValueError, match=words):
        check_schedule(*settings)


def test_weight_rises_by_equal_steps_and_then_decays():
    """1/5, 2/5, 3/5, 4/5, 1 of what the decay alone would give."""
    decayed = [100.0, 50.0, 25.0, 12.5, 6.25, 3.125]
    weights = [link_weight(epoch, 100.0, 0.5, warmup_epochs=4) for epoch in range(6)]
    assert weights == pytest.approx([20.0, 20.0, 15.0, 10.0, 6.25, 3.125])
    assert decayed == [link_weight(epoch, 100.0, 0.5) for epoch in range(6)]


def test_weight_rises_from_the_start_epoch_on():
    weights = [link_weight(e, 3.0, 1.0, (), 6, 2, 2) for e in range(8)]
    assert weights == [0, 0, 1, 2, 3, 3, 0, 0]


def test_course_of_300_epochs_is_the_papers_to_the_bit():
    assert paper_course(300) == ((0.99, 0.98, 1.0), (200, 300))
    weight = 1.0
    for epoch in range(300):
        weight *= 0.99 if epoch < 200 else 0.98
    assert pytest.approx(weight, rel=1e-12) == PAPER_FINAL


@pytest.mark.parametrize("epochs", [3, 30, 90, 100, 299, 600, 1000])
def test_course_has_the_papers_weight_at_the_same_share_of_the_run(epochs):
    gammas, milestones = paper_course(epochs)
    check_schedule(gammas, milestones)
    for epoch in range(epochs + 1):
        past = float(Fraction(300 * epoch, epochs))
        paper = 0.99 ** min(past, 200) * 0.98 ** max(past - 200, 0)
        # Exact where the paper's milestone falls on a whole epoch; elsewhere it is rounded to one.
        tolerance = 1e-12 if epochs % 3 == 0 else 3 / epochs
        ours = link_weight(epoch, 1.0, gammas, milestones)
        assert ours == pytest.approx(paper, rel=tolerance)


@pytest.mark.parametrize("epochs", [1, 2, 3, 20, 300, 0.4, 1.1, 2.5, Fraction(7, 2)])
@pytest.mark.parametrize("final", [1e-6, PAPER_FINAL, 1.0])
def test_course_ends_at_the_final_share_for_any_length(epochs, final):
    gammas, milestones = paper_course(epochs, final)
    check_schedule(gammas, milestones)
    weights = [link_weight(e, 2000.0, gammas, milestones) for e in range(math.ceil(epochs) + 30)]
    assert weights[math.ceil(epochs) :] == pytest.approx([2000.0 * final] * 30)
    # Within the run, λ falls as a power of the share that the paper's course has left.
    power = math.log(final) / math.log(PAPER_FINAL)
    for epoch in range(math.ceil(epochs) if epochs > 1 else 1):
        past = min(epoch, milestones[0]) / milestones[0] * 200
        if epoch > milestones[0]:
            past += (epoch - milestones[0]) / (float(epochs) - milestones[0]) * 100
        paper = 0.99 ** min(past, 200) * 0.98 ** max(past - 200, 0)
        assert weights[epoch] == pytest.approx(2000.0 * paper**power)


@pytest.mark.parametrize("value", [0, -0.1, 1.01, float("nan"), True, "0.02", None])
def test_bad_finals_are_named(value):
    words = re.escape(f"final={value!r}; choose a number above 0 and at most 1")
    with pytest.raises(ValueError, match=words):
        paper_course(300, value)


@pytest.mark.parametrize("value", [0, float("inf"), "300"])
def test_bad_lengths_are_named(value):
    with pytest.raises(ValueError, match=re.escape(f"epochs={value!r}; choose a number above 0")):
        paper_course(value)
