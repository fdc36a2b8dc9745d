"""What each config of a paper builds is the paper's recipe, value by value.

The tables are in tests/recipes: each value with its source. What they are held against is built
by MMEngine from the config (tests/recipes/built.py), not read in it.
"""

import pytest

from .recipes import attention_transfer, deit
from .recipes.built import FOLDER, built, differences

RECIPES = {**deit.RECIPES, **attention_transfer.RECIPES}


@pytest.mark.parametrize("name", RECIPES)
def test_config_builds_the_recipe_of_its_paper(name, tmp_path):
    lines = differences(RECIPES[name], built(FOLDER / f"{name}.py", tmp_path))
    assert not lines, "\n".join([f"configs/{name}.py", *lines])


def test_a_difference_of_any_kind_is_told():
    row = dict(lr=(1e-3, "paper"), clipping=(None, "paper"), lr_at=({0: 1e-6, 5: 1e-3}, "paper"))
    same = dict(lr=1e-3, clipping=None, lr_at=[1e-6, 0, 0, 0, 0, 1e-3])
    assert differences(row, same) == []
    for change in (
        dict(lr=1.1e-3),
        dict(lr=None),
        dict(clipping=dict(max_norm=5.0)),
        dict(lr_at=[1e-6, 0, 0, 0, 0, 1e-4]),
        dict(drop_path=0.1),
    ):
        (line,) = differences(row, {**same, **change})
        assert line.startswith(next(iter(change)))
