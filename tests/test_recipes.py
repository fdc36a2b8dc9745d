"""What each config of a paper builds is the paper's recipe, value by value.

The tables are in tests/recipes: each value with its source. What they are held against is built
by MMEngine from the config (tests/recipes/built.py), not read in it.
"""

import pytest

from .recipes import attention_transfer, deit, locality_guidance
from .recipes.built import FOLDER, built, differences

RECIPES = {**deit.RECIPES, **attention_transfer.RECIPES, **locality_guidance.RECIPES}


@pytest.mark.parametrize("name", RECIPES)
def test_config_builds_the_recipe_of_its_paper(name, tmp_path):
    lines = differences(RECIPES[name], built(FOLDER / f"{name}.py", tmp_path))
    assert not lines, "\n".join([f"configs/{name}.py", *lines])


def test_every_config_of_a_paper_has_its_recipe():
    """Shapes, quickstart, photographs and folder are ours."""
    ours = ("shapes", "quickstart", "fashion", "elpv")
    names = {
        path.relative_to(FOLDER).with_suffix("").as_posix()
        for path in FOLDER.rglob("*.py")
        if path.parent.name not in ("_base_", "folder") and not any(o in path.stem for o in ours)
    }
    assert names == set(RECIPES)


def test_lr_is_scaled_to_the_batch():
    """5e-4 * batch / 512 (DeiT's and Swin's main.py); fine-tuning has 5e-6 at 512."""
    for name, row in deit.RECIPES.items():
        per_512 = 5e-6 if "384px" in name else 5e-4
        assert row["lr"][0] == pytest.approx(per_512 * row["batch"][0] / 512), name
        assert row["full_batch"][0] == row["batch"][0], name


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
