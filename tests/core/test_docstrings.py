"""What `aal_plugin.core` exports says what it does, with an example; every example runs."""

import doctest
import importlib
import pkgutil

import pytest

from aal_plugin import core

MODULES = [info.name for info in pkgutil.walk_packages(core.__path__, "aal_plugin.core.")]


@pytest.mark.parametrize("name", core.__all__)
def test_what_core_exports_has_an_example(name):
    thing = getattr(core, name)
    module = importlib.import_module(thing.__module__)
    examples = doctest.DocTestFinder(recurse=False).find(thing, name, module)
    assert any(each.examples for each in examples)


@pytest.mark.parametrize("module", MODULES)
def test_examples_run(module):
    assert not doctest.testmod(importlib.import_module(module)).failed


def test_there_are_modules_to_look_at():
    assert {"aal_plugin.core.losses.links", "aal_plugin.core.student.families"} <= set(MODULES)
