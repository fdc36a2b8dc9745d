import pytest

from aal_plugin.core import AttentionLinks, TimmTeacher, link_ranges

EFFICIENTNET_B3 = (24, 32, 48, 96, 136, 232, 384)


@pytest.mark.parametrize(
    ("links", "count"), [("full", 68_544), ("alpha", 28_608), ("beta", 23_280)]
)
def test_link_weights_of_deit_s_and_efficientnet_b3(links, count):
    module = AttentionLinks(link_ranges(links, 7, 12), [6] * 12, EFFICIENTNET_B3)
    assert sum(link.weight.numel() for link in module) == count
    assert sum(link.bias.numel() for link in module) == 952


def test_efficientnet_b3_has_the_levels_of_the_paper():
    teacher = TimmTeacher("efficientnet_b3", allow_random_weights=True)
    assert tuple(teacher.channels) == EFFICIENTNET_B3


def test_ranges_stretch_over_other_depths():
    assert link_ranges("alpha", 7, 24)[:2] == [(1, 6), (1, 10)]
    assert link_ranges("alpha", 7, 6)[5:] == [(3, 6), (4, 6)]
    assert link_ranges("alpha", 4, 12) == [(1, 3), (3, 5), (4, 6), (7, 12)]
    assert link_ranges("beta", 1, 12) == [(7, 10)]
    assert all(1 <= a <= b <= 5 for a, b in link_ranges("beta", 9, 5))


@pytest.mark.parametrize(
    ("links", "words"),
    [
        (
            "gamma",
            r"link_head.links='gamma'; choose 'full', 'alpha', 'beta' or one \(first,",
        ),
        ([(1, 12)] * 3, "3 .* pairs, but the teacher has 7 levels"),
        ([(1, 12)] * 6 + [(3, 13)], r"level 7 has \(3, 13\); choose 1 <= first <= last <= 12"),
        ([(0, 4)] * 7, r"level 1 has \(0, 4\)"),
        ([(5, 4)] * 7, r"level 1 has \(5, 4\)"),
        ([3] * 7, r"3 is not a \(first, last\) pair"),
        ([(1.9, 2.9)] * 7, r"\(1\.9, 2\.9\) is not a \(first, last\) pair .*whole numbers"),
        ([(1.0, 2.0)] * 7, r"\(1\.0, 2\.0\) is not a \(first, last\) pair"),
        ([(True, 2)] * 7, r"\(True, 2\) is not a \(first, last\) pair"),
        ([("1", "2")] * 7, r"\('1', '2'\) is not a \(first, last\) pair"),
        ([(1, 2, 3)] * 7, r"\(1, 2, 3\) is not a \(first, last\) pair"),
        ([], "0 .* pairs, but the teacher has 7 levels"),
        (5, "link_head.links=5; choose 'full', 'alpha', 'beta' or one"),
        (None, "link_head.links=None; choose 'full', 'alpha', 'beta' or one"),
    ],
)
def test_bad_links_name_key_value_and_choices(links, words):
    with pytest.raises(ValueError, match=words):
        link_ranges(links, 7, 12)
