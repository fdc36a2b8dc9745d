import pytest
from mmengine.config import Config

from aal_plugin.cli import description, find, inheriting
from aal_plugin.files import configs_folder


def test_every_config_has_a_description_and_parts_are_hidden():
    found = find()
    assert len(found) > 90 and not any(name.startswith("_base_") for name in found)
    for name, path in found.items():
        text = description(path)
        assert len(text) > 5 and "tools/" not in text, name


def test_a_pattern_is_a_part_of_a_name_or_a_glob():
    assert set(find("pit_shapes")) == {"shapes/aal_pit_shapes.py", "shapes/pit_shapes.py"}
    assert set(find("folder/*")) == {"folder/aal_deit-s_folder.py", "folder/deit-s_folder.py"}
    assert "_base_/aal_in1k.py" in find("_base_")


@pytest.mark.parametrize("name", ["folder/aal_deit-s_folder.py", "shapes/quickstart_aal.py"])
def test_a_copy_elsewhere_is_the_config(tmp_path, monkeypatch, name):
    monkeypatch.delenv("AAL_CONFIGS", raising=False)
    source = configs_folder() / name
    copy = tmp_path / "mine.py"
    copy.write_text(inheriting(source, copy))
    assert Config.fromfile(copy).to_dict() == Config.fromfile(source).to_dict()
    assert copy.read_text().startswith(f"# aal train {copy}\n# ")


def test_a_copy_follows_the_configs_to_another_folder(tmp_path, monkeypatch):
    """A virtual environment that moved: AAL_CONFIGS names the new place."""
    copy = tmp_path / "mine.py"
    copy.write_text(inheriting(configs_folder() / "shapes/quickstart_aal.py", copy))
    moved = tmp_path / "moved"
    moved.symlink_to(configs_folder())
    monkeypatch.setenv("AAL_CONFIGS", str(moved))
    config = Config.fromfile(copy)
    assert config.model.teacher.config == f"{moved}/shapes/quickstart_teacher.py"
