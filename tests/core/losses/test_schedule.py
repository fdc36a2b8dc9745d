import pytest

from aal_plugin.core import check_schedule, link_weight


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
    ("start", "stop", "words"),
    [
        (-1, None, "start_epoch=-1"),
        (1.5, None, "start_epoch=1.5"),
        (True, None, "start_epoch=True"),
        (5, 5, "start_epoch=5, stop_epoch=5: λ would be 0 in every epoch"),
    ],
)
def test_bad_starts_are_named(start, stop, words):
    with pytest.raises(ValueError, match=words):
        check_schedule((1.0,), (), stop, start)


@pytest.mark.parametrize(
    ("gammas", "milestones", "stop", "words"),
    [
        ((0.99, 0.98), (), None, "0 milestones need 1 gammas, got 2"),
        ((0.99,), (200,), None, "1 milestones need 2 gammas, got 1"),
        ((1.01,), (), None, r"every gamma must be a number in \[0, 1\]"),
        ((0.9, 0.9, 0.9), (20, 10), None, "ascending order"),
        ((0.9, 0.9), (0,), None, "positive epochs"),
        ((0.9,), (), -1, "stop_epoch=-1"),
    ],
)
def test_bad_schedules_are_named(gammas, milestones, stop, words):
    with pytest.raises(ValueError, match=words):
        check_schedule(gammas, milestones, stop)
