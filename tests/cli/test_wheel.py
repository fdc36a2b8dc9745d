"""The wheel in a fresh environment, used from a folder that is not ours."""

import os
import shutil
import socket
import subprocess
import sys
import sysconfig
import venv
from pathlib import Path

import pytest

from aal_plugin.cli import TOOLS

ROOT = Path(__file__).resolve().parents[2]
SOURCES = ["aal_plugin", "configs", "tools", "setup.py", "pyproject.toml", "README.md", "LICENSE"]
TINY = """
train_dataloader = dict(batch_size=10, num_workers=0, dataset=dict(num_images=20))
val_dataloader = dict(num_workers=0, dataset=dict(num_images=10))
train_cfg = dict(by_epoch=True, max_epochs=1)
param_scheduler = None
"""
NEW_STYLE = """
from mmengine.config import read_base

with read_base():
    from aal_plugin.configs._base_.aal_in1k import *
    from aal_plugin.configs._base_.cifar10_224 import *

from aal_plugin.mm import AALClassifier, TimmTeacher

model = dict(
    aal,
    type=AALClassifier,
    teacher=dict(type=TimmTeacher, model_name="test_resnet", allow_random_weights=True),
    backbone=dict(type="VisionTransformer", arch="deit-tiny", img_size=224, patch_size=16),
    head=dict(type="VisionTransformerClsHead", num_classes=10, in_channels=192),
)
default_hooks = dict(aal=decay)
"""
BUILD = """
from mmengine.config import Config
from mmengine.registry import init_default_scope
from mmpretrain.registry import MODELS

init_default_scope("mmpretrain")
config = Config.fromfile("new_style.py")
print(type(MODELS.build(config.model)).__name__, config.default_hooks.aal.gammas)
"""


@pytest.fixture(scope="module")
def lab(tmp_path_factory):
    """A folder of a lab's own, and a function that runs a program of the new environment in it."""
    folder = tmp_path_factory.mktemp("wheel")
    (folder / "source").mkdir()
    for name in SOURCES:  # a copy, since building writes beside the sources
        copy = shutil.copytree if (ROOT / name).is_dir() else shutil.copy
        copy(ROOT / name, folder / "source" / name)
    pip = [sys.executable, "-m", "pip", "--disable-pip-version-check", "-q"]
    wheel = [*pip, "wheel", "--no-deps", "--no-build-isolation", "-w", str(folder)]
    subprocess.run([*wheel, str(folder / "source")], check=True)
    shutil.rmtree(folder / "source")
    environment = folder / "environment"
    venv.create(environment, with_pip=True, symlinks=True)
    programs = environment / "bin"
    site = subprocess.run(
        [programs / "python", "-c", "import sysconfig; print(sysconfig.get_path('purelib'))"],
        capture_output=True, text=True, check=True,
    ).stdout.strip()  # fmt: skip
    # torch and the rest are those of this environment; aal_plugin, of which this one has an
    # editable install, is not: a .pth file found by way of another is not read.
    Path(site, "shared.pth").write_text(sysconfig.get_path("purelib"))
    (built,) = folder.glob("*.whl")
    subprocess.run([programs / "pip", "install", "-q", "--no-deps", built], check=True)
    home = folder / "lab"
    home.mkdir()
    clean = {
        key: value
        for key, value in os.environ.items()
        if key not in ("PYTHONPATH", "AAL_CONFIGS", "PYTHON", "VIRTUAL_ENV")
    }

    def run(program, *words, status=0, **extra):
        done = subprocess.run(
            [programs / program, *map(str, words)],
            cwd=home, env={**clean, **extra}, capture_output=True, text=True, timeout=600,
        )  # fmt: skip
        said = done.stdout + done.stderr
        assert done.returncode == status, said[-4000:]
        return said

    run.home, run.site = home, Path(site)
    return run


@pytest.mark.slow
def test_configs_and_tools_are_inside_the_package(lab):
    folder = lab("aal", "configs", "--path").strip()
    assert folder == str(lab.site / "aal_plugin" / "configs")
    assert "shapes/aal_pit_shapes.py" in lab("aal", "configs", "pit")
    assert (lab.site / "aal_plugin" / "py.typed").is_file()
    for name, (tool, _) in TOOLS.items():
        assert (lab.site / "aal_plugin" / "tools" / tool).is_file()
        assert f"aal {name}: " in lab("aal", *name.split(), "--help")


@pytest.mark.slow
def test_what_measures_stays_in_the_checkout(lab):
    """What the wheel has of tools/ is what `aal` runs, and what those import or call."""
    tools = lab.site / "aal_plugin" / "tools"
    found = {path.relative_to(tools).as_posix() for path in tools.rglob("*.*")}
    found = {name for name in found if "__pycache__" not in name}
    assert found == {tool for tool, _ in TOOLS.values()} | {
        "__init__.py",
        "torchrun.py",
        "torchrun.sh",
    }
    assert not (lab.site / "tools").exists()


@pytest.mark.slow
def test_every_config_reads_from_the_installed_folder(lab):
    code = (
        "import sys; from mmengine.config import Config; from aal_plugin.cli import find\n"
        "print(len([Config.fromfile(path) for path in find().values()]))"
    )
    assert int(lab("python", "-W", "ignore", "-c", code).splitlines()[-1]) > 90


@pytest.mark.slow
def test_a_copied_config_trains_and_its_student_is_exported_and_tested(lab):
    lab("aal", "copy", "shapes/quickstart_teacher.py", "teacher.py")
    lab("aal", "copy", "shapes/quickstart_aal.py", "mine.py")
    for name in ("teacher.py", "mine.py"):
        with open(lab.home / name, "a") as file:
            file.write(TINY)
    missing = lab("aal", "train", "mine.py", status=2)
    assert f"epoch_3.pth': no such file in {lab.home}; train it first: aal train " in missing
    lab("aal", "train", "teacher.py", "--work-dir", "teacher")
    checkpoint = "model.teacher.checkpoint=teacher/epoch_1.pth"
    lab("aal", "train", "mine.py", "--work-dir", "runs", "--cfg-options", checkpoint)
    assert (lab.home / "runs" / "epoch_1.pth").is_file()
    lab("aal", "links", "plot", "runs/epoch_1.pth", "links.png")
    lab("aal", "export", "runs/mine.py", "runs/epoch_1.pth", "student.pth")
    assert (lab.home / "student.pth").is_file() and (lab.home / "links.csv").is_file()


@pytest.mark.slow
def test_a_labs_text_config_inherits_ours_by_environment_variable_or_path(lab):
    folder = lab("aal", "configs", "--path").strip()
    for name, base in (("by_variable.py", "{{$AAL_CONFIGS:}}"), ("by_path.py", folder)):
        (lab.home / name).write_text(f'_base_ = "{base}/shapes/quickstart_plain.py"{TINY}')
        lab("aal", "train", name, "--work-dir", name[:-3])  # sets AAL_CONFIGS
        assert (lab.home / name[:-3] / "epoch_1.pth").is_file()
    read = "from mmengine.config import Config; Config.fromfile('by_variable.py')"
    lab("python", "-W", "ignore", "-c", read, AAL_CONFIGS=folder)  # a script of the lab's own
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = str(free.getsockname()[1])
    lab("aal", "dist-train", "by_variable.py", "2", "--work-dir", "two", PORT=port)
    assert (lab.home / "two" / "epoch_1.pth").is_file()


@pytest.mark.slow
def test_a_labs_new_style_config_takes_our_parts_by_read_base(lab):
    (lab.home / "new_style.py").write_text(NEW_STYLE)
    assert "AALClassifier (0.99, 0.98)" in lab("python", "-W", "ignore", "-c", BUILD)
