"""Names of earlier versions give an error with the new name, also where no check of ours runs."""

from __future__ import annotations

import subprocess
import sys

import pytest
from mmengine.registry import HOOKS

import aal_plugin
import aal_plugin.mm
from aal_plugin.core import TimmTeacher
from aal_plugin.mm.runtime.launch import mmpretrain_script
from aal_plugin.old_names import MOVED, RENAMED

from .mm.small import AAL, TEACHER, build, training
from .pages import ROOT


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        (
            {"model.type": "aal_plugin.AALClassifier", "custom_imports.imports": ["aal_plugin"]},
            "aal_plugin.AALClassifier: this class has moved; use 'aal_plugin.mm.AALClassifier'",
        ),
        (
            {"model.teacher.taps": ["layer1"]},
            "TimmTeacher.taps=['layer1']: this argument is now called TimmTeacher.layers",
        ),
    ],
    ids=["type", "argument"],
)
def test_mmpretrains_own_train_script_ends_with_the_new_name(tmp_path, changes, words):
    cfg = training(tmp_path / "run", epochs=1)
    cfg.merge_from_dict(changes)
    cfg.dump(tmp_path / "config.py")
    done = subprocess.run(
        [sys.executable, mmpretrain_script("train").__file__, str(tmp_path / "config.py")],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 1
    assert done.stderr.strip().splitlines()[-1].endswith(words)


def test_a_moved_class_can_be_neither_built_nor_extended():
    with pytest.raises(ImportError, match=r"^aal_plugin.MMTeacher: this class has moved; use "):
        aal_plugin.MMTeacher("resnet18", checkpoint=True)
    with pytest.raises(ImportError, match="use 'aal_plugin.mm.LambdaDecayHook'"):

        class Mine(aal_plugin.LambdaDecayHook):
            pass


def test_only_moved_classes_are_names_of_the_package():
    assert set(aal_plugin.mm.__all__) >= MOVED > set(RENAMED)
    with pytest.raises(AttributeError, match="module 'aal_plugin' has no attribute 'Taps'"):
        _ = aal_plugin.Taps


@pytest.mark.parametrize(
    ("kind", "old", "new"),
    [
        ("AALClassifier", "taps", "attention_layers"),
        ("AALClassifier", "student_taps", "student_layers"),
        ("TimmTeacher", "taps", "layers"),
        ("MMTeacher", "taps", "layers"),
        ("AttentionInPrediction", "taps", "attention_layers"),
    ],
)
def test_an_old_argument_is_an_error_of_the_constructor(kind, old, new):
    words = rf"^{kind}.{old}=\['a'\]: this argument is now called {kind}.{new}$"
    with pytest.raises(ValueError, match=words):
        getattr(aal_plugin.mm, kind)(**{old: ["a"]})


def test_parts_of_a_config_name_the_old_argument():
    with pytest.raises(ValueError, match=r"AALClassifier.taps=\['a'\].*AALClassifier.attention_l"):
        build(AAL, taps=["a"])
    with pytest.raises(ValueError, match="TimmTeacher.taps=.*now called TimmTeacher.layers"):
        build(AAL, teacher=dict(TEACHER, taps=["a"]))
    with pytest.raises(ValueError, match="AttentionInPrediction.taps="):
        HOOKS.build(dict(type="AttentionInPrediction", taps=["a"]))


def test_new_arguments_pass_by_position_too():
    own = TimmTeacher("test_resnet", False, None, ["layer1"], allow_random_weights=True)
    assert own.layers == ["layer1"]
