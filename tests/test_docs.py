"""What the documentation names exists: links, paths, options of tools, settings, classes."""

from __future__ import annotations

import importlib.util
import inspect
import os
import re
from importlib import import_module
from pathlib import Path

import mmengine.hooks
import mmpretrain
import pytest
import timm.task

import aal_plugin.analysis
import aal_plugin.core
import aal_plugin.mm
import aal_plugin.timm
from aal_plugin.mm.launch import mmpretrain_script
from aal_plugin.timm.options import OPTIONS as AAL_OPTIONS

from .pages import (
    OLD_NAMES,
    PAGES,
    ROOT,
    anchors,
    blocks,
    braces,
    commands,
    inline_code,
    links,
    name_of,
)
from .test_docs_code import is_registered

each_page = pytest.mark.parametrize("page", PAGES, ids=name_of)
each_current_page = pytest.mark.parametrize(
    "page", [page for page in PAGES if page not in OLD_NAMES], ids=name_of
)

GENERATED = {ROOT / "docs/students.md", ROOT / "docs/teachers.md"}  # tables of many models
LIKE = {"dist_train.sh": "train.py", "slurm_train.sh": "train.py", "dist_test.sh": "test.py"}
MAIN = {"aal_plugin.data": "aal_plugin.data.shapes_export"}  # where the options of a package are
# Options of other people's programs, which the pages name without a command.
FOREIGN = """
--amp --aug-repeats --aug-splits --backend-store-uri --bce-loss --channels-last --clip-grad
--cooldown-epochs --cutmix --data-dir --grad-accum-steps --grad-checkpointing --help --in-chans
--jsd-loss --kd-model-name --layer-decay --log-wandb --logdir --mixup --model-dtype --model-ema
--naflex-loader --no-prefetcher --reprob --resume --task --torchcompile --torchscript
--train-img-sizes --use-multi-epochs-loader
"""
NO_CLASSES = {"MaxBoxAcc", "ImageNet", "PyTorch", "ViT"}
SETTINGS = {
    "link_head": [aal_plugin.mm.AttentionLinkHead],
    "distill_head": [aal_plugin.mm.DistillHead],
    "transfer_head": [
        aal_plugin.mm.ActivationTransferHead,
        aal_plugin.mm.HintHead,
        aal_plugin.mm.GradientTransferHead,
    ],
    "teacher": [
        aal_plugin.mm.TimmTeacher,
        aal_plugin.mm.MMTeacher,
        aal_plugin.mm.ModuleTeacher,
        aal_plugin.core.FrozenTeacher,
    ],
    "LambdaDecayHook": [aal_plugin.mm.LambdaDecayHook],
}


def test_readme_fits_on_one_page():
    assert len((ROOT / "README.md").read_text(encoding="utf-8").split()) <= 900


@pytest.mark.parametrize("page", [page for page in PAGES if page not in GENERATED], ids=name_of)
def test_no_line_of_a_table_is_over_160_characters(page):
    long = [
        line
        for line in page.read_text(encoding="utf-8").splitlines()
        if line.startswith("|") and len(line) > 160
    ]
    assert not long


@each_page
def test_links_and_images_lead_somewhere(page):
    for target in links(page):
        if target.startswith(("https://", "mailto:")):
            continue
        path, _, anchor = target.partition("#")
        file = (page.parent / path).resolve() if path else page
        assert file.is_file(), f"{name_of(page)} links to {target}"
        assert not anchor or anchor in anchors(file), f"{name_of(page)} links to {target}"


@each_current_page
def test_named_paths_exist(page):
    text = page.read_text(encoding="utf-8")
    for word in re.findall(
        r"(?<![\w/.-])(?:tools|configs|tests|aal_plugin|docs)/[\w./*{},-]*", text
    ):
        word = word.rstrip(".,") if "{" in word else word.rstrip(".,}")  # YAML: {config: …/a.py}
        for path in braces(word):
            if path.startswith("docs/_build"):
                continue
            assert any(ROOT.glob(path.rstrip("/"))), f"{name_of(page)} names {word}"


@each_current_page
def test_options_beside_a_tool_are_the_tools(page):
    for command in commands(page):
        for tool in set(re.findall(r"tools/((?:analysis/)?\w+\.(?:py|sh))", command)):
            given = command[command.index(tool) :]
            for option in re.findall(r"(?<![\w-])--[a-z][\w-]*", given):
                assert has_option(tool, option), f"{name_of(page)}: {tool} has no {option}"
        for module in re.findall(r"python -m ([\w.]+)", command):
            file = ROOT / (MAIN.get(module, module).replace(".", "/") + ".py")
            source = file.read_text(encoding="utf-8")
            for option in re.findall(r"(?<![\w-])--[a-z][\w-]*", command):
                assert f'"{option}"' in source, f"{name_of(page)}: {module} has no {option}"


@each_current_page
def test_options_in_prose_exist_in_some_tool(page):
    tools = [path.relative_to(ROOT / "tools").as_posix() for path in ROOT.glob("tools/**/*.py")]
    tools.append("../tests/reliability/kill_matrix.py")  # `make test-reliability`
    for code in inline_code(page):
        for option in re.findall(r"(?<![\w-])--[a-z][\w-]*", code):
            known = any(has_option(tool, option, foreign=False) for tool in tools)
            assert known or option in FOREIGN.split(), f"{name_of(page)} names {option}"


def has_option(tool: str, option: str, foreign: bool = True) -> bool:
    """Whether a tool, or the script that it runs, adds this option.

    The suite has no copy of timm's train.py: `foreign` is the answer for its options.
    """
    tool = LIKE.get(tool, tool)
    sources = [(ROOT / "tools" / tool).read_text(encoding="utf-8")]
    if tool in ("train.py", "test.py"):
        sources.append(inspect.getsource(mmpretrain_script(Path(tool).stem)))
    if tool == "timm_train.py":
        return option in AAL_OPTIONS.values() if option.startswith("--aal-") else foreign
    no_prefix = "--" + option.removeprefix("--no-")  # argparse.BooleanOptionalAction
    return any(
        f'"{name}"' in text or f"'{name}'" in text
        for text in sources
        for name in (option, no_prefix)
    )


@each_current_page
def test_named_settings_exist(page):
    for code in [*inline_code(page), *(block.text for block in blocks(page, "bash"))]:
        for owner, setting in re.findall(rf"\b({'|'.join(SETTINGS)})\.([a-z_]+)", code):
            assert any(has_setting(cls, setting) for cls in SETTINGS[owner]), (
                f"{name_of(page)} names {owner}.{setting}"
            )


@pytest.mark.parametrize("owner", SETTINGS)
def test_every_setting_is_on_a_page(owner):
    codes = [code for page in PAGES for code in inline_code(page)]
    codes += [block.text for page in PAGES for block in blocks(page, "python")]
    for cls in SETTINGS[owner]:
        for parameter in inspect.signature(cls).parameters.values():
            if parameter.kind is parameter.VAR_KEYWORD or parameter.name == "init_cfg":
                continue
            named = re.compile(rf"\b{parameter.name}\b")
            assert any(named.search(code) for code in codes), f"{owner}.{parameter.name}"


def has_setting(cls: type, name: str) -> bool:
    """Whether a class has such an argument, or such a method or attribute."""
    return name in inspect.signature(cls).parameters or hasattr(cls, name)


@each_current_page
def test_named_classes_exist(page):
    own = re.findall(r"class (\w+)", "".join(block.text for block in blocks(page, "python")))
    for code in inline_code(page):
        for name in re.findall(r"(?<![\w.])((?:\w+\.)*[A-Z][a-z]+[A-Z]\w*)\b", code):
            assert name in NO_CLASSES or name in own or resolves(name), (
                f"{name_of(page)} names {name}"
            )


def resolves(name: str) -> bool:
    name = name.removeprefix("mmpretrain.")
    if "." in name:
        module, _, attribute = name.rpartition(".")
        try:
            return hasattr(import_module(module), attribute)
        except ImportError:
            return False
    packages = (aal_plugin.core, aal_plugin.mm, aal_plugin.timm, aal_plugin.analysis, timm.task)
    return (
        any(hasattr(package, name) for package in (*packages, mmengine.hooks, mmpretrain.models))
        or is_registered(name)
        or is_a_class_of_ours(name)
        or (importlib.util.find_spec("transformers") and name in dir(import_module("transformers")))
    )


def is_a_class_of_ours(name: str) -> bool:
    files = (ROOT / "aal_plugin").rglob("*.py")
    return any(f"\nclass {name}" in file.read_text(encoding="utf-8") for file in files)


@each_current_page
def test_named_modules_of_ours_exist(page):
    for name in re.findall(r"\baal_plugin(?:\.[a-z_]\w*)+", page.read_text(encoding="utf-8")):
        if name.startswith("aal_plugin.configs."):  # in the wheel; configs/ in the checkout
            assert ROOT.joinpath(*name.split(".")[1:]).with_suffix(".py").is_file(), name
            continue
        module, _, attribute = name.rpartition(".")
        found = importlib.util.find_spec(module) is not None and (
            importlib.util.find_spec(name) is not None
            if hasattr(import_module(module), "__path__")
            else False
        )
        assert found or hasattr(import_module(module), attribute), name


def test_every_tool_and_every_option_for_timm_is_on_a_page():
    pages = "".join(page.read_text(encoding="utf-8") for page in PAGES)
    for tool in ROOT.glob("tools/**/*.*"):
        name = tool.relative_to(ROOT).as_posix()
        named = name in pages or tool.stem in ("torchrun", "quickstart")
        assert named or not os.access(tool, os.X_OK), f"no page names {name}"
    page = (ROOT / "docs/timm.md").read_text(encoding="utf-8")
    for option in AAL_OPTIONS.values():
        assert f"`{option}" in page, f"docs/timm.md lacks {option}"


def test_the_checks_see_what_is_wrong(tmp_path):
    """Each check finds a mistake that is made for it."""
    assert not has_option("compare.py", "--sedes") and has_option("compare.py", "--seeds")
    assert not has_option("timm_train.py", "--aal-lambda-2")
    assert not resolves("NoSuchHook") and resolves("LambdaDecayHook")
    assert not has_setting(aal_plugin.mm.TimmTeacher, "taps")
    assert braces("configs/{a,b}/{,c_}d.py") == [
        *("configs/a/d.py", "configs/a/c_d.py", "configs/b/d.py", "configs/b/c_d.py")
    ]
