"""Every public class and function of core says what it does, with an example that runs.

The functions of `student/families`, and the readers that they share, need no example: users reach
them by `find_reader`, and each has a row in tests/core/student/students.py. Nor does a function of
one line.
"""

import ast
import doctest
import importlib
import inspect
import pkgutil
import textwrap

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
FAMILY = ("aal_plugin.core.student.families.", "aal_plugin.core.student.readers")


def is_one_line(thing):
    """A function of a docstring and one statement, or a class of a docstring alone."""
    tree = ast.parse(textwrap.dedent(inspect.getsource(thing)))
    return len(tree.body[0].body) <= 1 + inspect.isfunction(thing)


@pytest.mark.parametrize(
    ("module", "thing"), PUBLIC, ids=[f"{name[16:]}.{thing.__name__}" for name, thing in PUBLIC]
)
def test_public_class_or_function_has_an_example(module, thing):
    assert thing.__doc__, "no docstring"
    if module.startswith(FAMILY) or is_one_line(thing):
        return
    examples = doctest.DocTestFinder(recurse=False).find(
        thing, thing.__name__, importlib.import_module(module)
    )
    assert any(e.examples for e in examples), "no example"


@pytest.mark.parametrize("module", MODULES)
def test_examples_run(module):
    result = doctest.testmod(importlib.import_module(module))
    assert not result.failed


def test_there_are_modules_to_look_at():
    assert {"aal_plugin.core.losses.links", "aal_plugin.core.student.families"} <= set(MODULES)
    assert len(PUBLIC) > 50
