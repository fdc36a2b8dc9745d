import os
import re

import pytest
from mmengine.config import Config

from aal_plugin.cli import description, find, portable
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


# One for each way in which a config names others: beside it, above it, a teacher's config.
KINDS = ["aal_deit-s_cub.py", "folder/aal_deit-s_folder.py", "shapes/quickstart_aal.py"]


@pytest.mark.parametrize("name", [*KINDS, "_base_/aal_in1k.py"])
def test_a_copy_elsewhere_is_the_config(tmp_path, monkeypatch, name):
    monkeypatch.delenv("AAL_CONFIGS", raising=False)
    source = configs_folder() / name
    copy = tmp_path / "mine.py"
    copy.write_text(portable(source, copy))
    ours, theirs = Config.fromfile(source), Config.fromfile(copy)
    settings = [_paths_resolved(config.to_dict()) for config in (ours, theirs)]
    assert settings[0] == settings[1]
    assert copy.read_text().startswith(f"# aal train {copy}\n# ")


def test_copies_of_all_configs_name_files_that_exist(tmp_path):
    for name, source in {**find(), **find("_base_/*")}.items():
        text = portable(source, tmp_path / "mine.py")
        assert not re.search(r'"\.{1,2}/|fileDirname', text), name
        for file in re.findall(r'"\{\{\$AAL_CONFIGS:[^}]+\}\}/([^"]+)"', text):
            assert (configs_folder() / file).exists(), (name, file)


def _paths_resolved(part):
    if isinstance(part, dict):
        return {key: _paths_resolved(value) for key, value in part.items()}
    if isinstance(part, (list, tuple)):
        return [_paths_resolved(value) for value in part]
    if isinstance(part, str) and part.startswith("/"):
        return os.path.normpath(part)
    return part


def test_a_copy_follows_the_configs_to_another_folder(tmp_path, monkeypatch):
    """A virtual environment that moved: AAL_CONFIGS names the new place."""
    copy = tmp_path / "mine.py"
    copy.write_text(portable(configs_folder() / "shapes/quickstart_aal.py", copy))
    moved = tmp_path / "moved"
    moved.symlink_to(configs_folder())
    monkeypatch.setenv("AAL_CONFIGS", str(moved))
    config = Config.fromfile(copy)
    assert config.model.teacher.config == f"{moved}/shapes/quickstart_teacher.py"
