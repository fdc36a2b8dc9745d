"""tools/bench/recipe.py: what AAL adds to the steps of a recipe."""

import pytest

from tools.bench.recipe import ratios


def test_a_recipes_ratios_are_taken_within_each_round():
    rows = {"student step": [1.0, 2.0, 4.0], "aal step": [2.0, 3.0, 4.8]}
    row = ratios(rows)["ratios"]["aal step"]
    assert row["ratio"] == 1.5 and row["quartiles"] == pytest.approx([1.35, 1.75])
