"""docs/teachers.md: its table is what the teachers have, and its configs build."""

import pytest
import torch
import torchvision
from mmpretrain import get_model
from mmpretrain.apis.model import ModelHub
from mmpretrain.registry import MODELS

import aal_plugin.mm  # noqa: F401
from aal_plugin.mm.configs.check import check_config
from aal_plugin.mm.configs.reading import read_config
from tests.core.teacher.teachers_table import PAGE, ROWS, line_of, rows_of
from tests.pages import blocks

ZOO = "resnet34_8xb32_in1k"
TEXTS = [block.text for block in blocks(PAGE, "python")]


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.name)
def test_the_tables_row_is_what_the_teacher_has(row):
    assert line_of(row) in rows_of(PAGE.read_text(encoding="utf-8"))


def test_the_table_has_no_other_rows():
    assert len(rows_of(PAGE.read_text(encoding="utf-8"))) == len(ROWS)


def test_the_recipe_with_a_name_of_the_zoo_builds_with_its_weights(tmp_path, monkeypatch):
    (text,) = [text for text in TEXTS if "_base_" in text]
    (tmp_path / "recipe.py").write_text(text)
    monkeypatch.delenv("AAL_CONFIGS", raising=False)
    torch.manual_seed(1)
    published = get_model(ZOO).state_dict()
    torch.save(dict(state_dict=published), tmp_path / "published.pth")
    monkeypatch.setattr(ModelHub._models_dict[ZOO], "weights", str(tmp_path / "published.pth"))
    config = read_config(tmp_path / "recipe.py")
    check_config(config)
    model = MODELS.build(dict(config.model, teacher=dict(config.model.teacher, fold_norms=False)))
    assert model.teacher.name == ZOO and model.teacher.channels == [64, 128, 256, 512]
    for key, tensor in model.teacher.model.state_dict().items():
        assert torch.equal(tensor, published[key]), key
    assert not any("teacher" in key for key in model.state_dict())


def test_a_teacher_of_ones_own_in_a_config_has_the_maps_of_the_one_in_a_loop(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    torch.manual_seed(2)
    own = torchvision.models.resnet18(num_classes=5)
    torch.save(own.state_dict(), "own.pth")
    (config,) = [text for text in TEXTS if "ModuleTeacher" in text and "layers=" in text]
    (loop,) = [text for text in TEXTS if "FrozenTeacher(" in text]
    named, given = {}, {}
    exec(config, named)
    exec(loop, given)
    one = MODELS.build(named["teacher"])
    other = type(given["teacher"])(own, one.layers, mean=given["mean"], std=given["std"])
    assert one.layers == given["teacher"].layers == ["layer2", "layer3", "layer4"]
    images = torch.randint(0, 256, (1, 3, 64, 64)).float()
    for teacher in (one, other):
        teacher.match_input(None, None, rgb=True)
    for got, wanted in zip(one(images)[0], other(images)[0], strict=True):
        torch.testing.assert_close(got, wanted)
