import pytest
from mmengine.config import Config

from aal_plugin.report.mmpretrain_run import read_literal_config
from tests.mm.small import training


def test_dumped_config_is_read_as_mmengine_reads_it(tmp_path):
    config = training(tmp_path)
    config.dump(tmp_path / "dumped.py")
    read = read_literal_config(tmp_path / "dumped.py")
    assert read == Config.fromfile(tmp_path / "dumped.py").to_dict()
    assert read["model"]["link_head"]["loss_weight"] == 2000.0


def test_nothing_in_a_config_runs(tmp_path):
    file, trace = tmp_path / "config.py", tmp_path / "ran"
    file.write_text(
        f"import os\nopen({str(trace)!r}, 'w')\n"
        f"seed = open({str(trace)!r}, 'w')\nlr = -1e-3\nother = dict(a=seed, b=[1, None])\n"
    )
    read = read_literal_config(file)
    assert not trace.exists()
    assert read["seed"].startswith("open(") and read["lr"] == -0.001
    assert read["other"] == dict(a="seed", b=[1, None])


def test_file_that_is_not_python_is_an_error(tmp_path):
    (tmp_path / "config.py").write_text("model = dict(")
    with pytest.raises(SyntaxError):
        read_literal_config(tmp_path / "config.py")
