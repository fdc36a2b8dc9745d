"""Every Python block of the documentation runs, on small models in the place of the large ones."""

from __future__ import annotations

import importlib
import re
import warnings
from pathlib import Path

import pytest
import timm
import torch
from mmengine.config import Config
from mmengine.registry import DefaultScope, Registry
from mmpretrain.registry import MODELS
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

import aal_plugin.mm
from aal_plugin.core import LinkedStudent

from .mm.small import PLAIN
from .pages import PAGES, ROOT, blocks, name_of

LINKED = "LinkedStudent("
SMALLER = {
    '"efficientnet_b3", pretrained=True': '"test_resnet", allow_random_weights=True',
    "range(300)": "range(2)",
    "range(100)": "range(2)",
    "max_epochs=300": "max_epochs=2, logger=False, enable_progress_bar=False, accelerator='cpu'",
    "num_train_epochs=300": "num_train_epochs=2, per_device_train_batch_size=4, "
    "use_cpu=True, report_to='none'",
    "Accelerator()": "Accelerator(cpu=True)",
    "ViTConfig(num_labels=10)": "ViTConfig(num_labels=5, image_size=32, patch_size=8, "
    "hidden_size=16, num_hidden_layers=3, num_attention_heads=2, intermediate_size=32)",
}
# A block that begins with a file's name shows a part of that file, and is not run.
_EXCERPT = re.compile(r"# (\S+\.py)\n")
ALL = [(page, block) for page in PAGES for block in blocks(page, "python")]
EXCERPTS = [one for one in ALL if _EXCERPT.match(one[1].text)]
BLOCKS = [
    pytest.param(page, block, id=f"{name_of(page)}:{block.line}")
    for page, block in ALL
    if (page, block) not in EXCERPTS
]


def small_student():
    torch.manual_seed(0)
    shape = dict(img_size=32, patch_size=8, embed_dim=16, depth=3, num_heads=2)
    return timm.create_model("vit_tiny_patch16_224", num_classes=5, **shape)


def stand_ins():
    """What a reader brings: a student, data, and the rest of a training script."""
    images, labels = torch.randn(8, 3, 32, 32), torch.arange(8) % 5
    student = small_student()
    return dict(
        torch=torch,
        nn=nn,
        student=student,
        optimizer=torch.optim.SGD(student.parameters(), lr=0.1),
        criterion=nn.CrossEntropyLoss(),
        cross_entropy=nn.functional.cross_entropy,
        device="cpu",
        loader=DataLoader(TensorDataset(images, labels), batch_size=4),
        dataset=[dict(pixel_values=image, labels=label) for image, label in zip(images, labels)],
    )


def write_runs(*folders):
    """Output folders of timm's train.py, for what reads runs."""
    for folder in folders:
        Path(folder).mkdir(parents=True)
        Path(folder, "summary.csv").write_text(
            "epoch,train_loss,eval_top1\n0,2.3,10.0\n1,2.0,20.0\n"
        )


def write_checkpoint(file="output/train/aal/last.pth.tar"):
    """A checkpoint of timm's train.py, of the page's small student."""
    student = timm.create_model(
        "deit_tiny_patch16_224", num_classes=10, img_size=64, depth=4, embed_dim=96
    )
    Path(file).parent.mkdir(parents=True)
    torch.save(dict(state_dict=student.state_dict()), file)
    return student.state_dict()


_names: dict[Path, dict] = {}


@pytest.fixture
def steps(monkeypatch):
    """The first weights of links and student, before every forward pass of a LinkedStudent."""
    seen = []
    forward = LinkedStudent.forward

    def recorded(self, *args):
        firsts = (next(module.parameters()) for module in (self.links, self.student))
        seen.append([weight.detach().clone() for weight in firsts])
        return forward(self, *args)

    monkeypatch.setattr(LinkedStudent, "forward", recorded)
    return seen


@pytest.mark.parametrize(("page", "block"), BLOCKS)
def test_python_block_runs(page, block, tmp_path, monkeypatch, steps):
    for package in ("lightning", "accelerate", "transformers"):
        if re.search(rf"^(import|from) {package}", block.text, re.M):
            pytest.importorskip(package)
    text = block.text
    for large, small in SMALLER.items():
        text = text.replace(large, small)
    monkeypatch.chdir(tmp_path)
    if "read_base()" in text:
        check_pure_python(text, tmp_path)
        return
    write_runs("work_dirs/plain", "work_dirs/aal")
    trained = write_checkpoint()
    names = _names.setdefault(page, {})  # a block may build on those above it
    names.update(stand_ins())
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # those of other people's trainers
        exec(compile(text, f"{name_of(page)}:{block.line}", "exec"), names)
    if LINKED in text and "loss" in text:
        assert len(steps) == 4, "two epochs of two steps"
        for first, last in zip(steps[0], steps[-1]):
            assert not first.equal(last), "the steps left links or student as they were"
    if (tmp_path / "student.pth").exists():
        saved = torch.load(tmp_path / "student.pth", weights_only=True)
        trained = names["student"].state_dict()
        small_student().load_state_dict(saved, strict=True)
        assert all(saved[key].equal(trained[key]) for key in trained)
    if "local-dir:" in text:
        loaded = names["same"].state_dict()
        assert all(loaded[key].equal(trained[key]) for key in trained)
    if "save_pretrained" in text:
        saved = type(names["student"]).from_pretrained(tmp_path / "student").state_dict()
        trained = names["student"].state_dict()
        assert all(saved[key].equal(trained[key]) for key in trained)


def check_pure_python(text, folder):
    """A config of MMEngine's pure-Python style keeps its base's model and hooks."""
    base = dict(model=dict(PLAIN), default_hooks=dict(logger=dict(type="LoggerHook")))
    (folder / "base.py").write_text("".join(f"{key} = {value}\n" for key, value in base.items()))
    (folder / "mine.py").write_text(text)
    cfg = Config.fromfile(folder / "mine.py")
    assert cfg.model.backbone == PLAIN["backbone"] and set(cfg.default_hooks) == {"logger", "aal"}
    cfg.model.teacher.update(pretrained=False, allow_random_weights=True)
    assert isinstance(MODELS.build(cfg.model), aal_plugin.mm.AALClassifier)


@pytest.mark.parametrize(("page", "block"), BLOCKS)
def test_types_of_a_config_block_are_registered(page, block):
    own = re.findall(r"class (\w+)", "".join(b.text for b in blocks(page, "python")))
    types = [name for name in re.findall(r'\btype="([\w.]+)"', block.text) if name not in own]
    for name in types:
        assert is_registered(name), f"{name_of(page)}:{block.line} names type={name!r}"


@pytest.mark.parametrize(
    ("page", "block"),
    [pytest.param(*one, id=f"{name_of(one[0])}:{one[1].line}") for one in EXCERPTS],
)
def test_an_excerpt_is_in_its_file(page, block):
    first, shown = block.text.split("\n", 1)
    assert shown.strip() in (ROOT / first[2:]).read_text(encoding="utf-8")


def is_registered(name: str) -> bool:
    name = name.removeprefix("mmpretrain.")  # the scope, in a config of another package
    if "." in name:
        module, _, attribute = name.rpartition(".")
        return hasattr(importlib.import_module(module), attribute)
    with DefaultScope.overwrite_default_scope("mmpretrain"):
        return any(registry.get(name) is not None for registry in registries())


def registries() -> list[Registry]:
    import mmpretrain.registry

    return [value for value in vars(mmpretrain.registry).values() if isinstance(value, Registry)]


def test_loops_and_configs_are_among_the_blocks():
    """The tests above would pass over pages without a block."""
    texts = [block.values[1].text for block in BLOCKS]
    assert sum(LINKED in text for text in texts) >= 5
    assert sum("type=" in text for text in texts) >= 3
    assert not is_registered("NoSuchHead")
