"""Every public class and function of core says what it does, with an example that runs.

The adapters of `student/families` need no example: `find_reader` is the one that users reach them
by, and each has a row in tests/core/student/students.py.
"""

import doctest
import importlib
import inspect
import pkgutil

import pytest

from aal_plugin import core

MODULES = [info.name for info in pkgutil.walk_packages(core.__path__, "aal_plugin.core.")]
PUBLIC = [
    (name, thing)
    for name in MODULES
    for thing in vars(importlib.import_module(name)).values()
    if (inspect.isclass(thing) or inspect.isfunction(thing))
    and thing.__module__ == name
    and not thing.__name__.startswith("_")
]
FAMILY = "aal_plugin.core.student.families."


@pytest.mark.parametrize(
    ("module", "thing"), PUBLIC, ids=[f"{name[16:]}.{thing.__name__}" for name, thing in PUBLIC]
)
def test_public_class_or_function_has_an_example(module, thing):
    assert thing.__doc__, "no docstring"
    examples = doctest.DocTestFinder(recurse=False).find(
        thing, thing.__name__, importlib.import_module(module)
    )
    assert module.startswith(FAMILY) or any(e.examples for e in examples), "no example"


@pytest.mark.parametrize("module", MODULES)
def test_examples_run(module):
    result = doctest.testmod(importlib.import_module(module))
    assert not result.failed


def test_there_are_modules_to_look_at():
    assert {"aal_plugin.core.losses.links", "aal_plugin.core.student.families"} <= set(MODULES)
    assert len(PUBLIC) > 50
