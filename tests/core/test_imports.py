"""What importing a room loads, and that rooms import downwards only."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

PACKAGE = Path(__file__).resolve().parents[2] / "aal_plugin"
FRAMEWORKS = ("mmengine", "mmcv", "mmpretrain", "matplotlib")
# A room may import the rooms named with it; what is no room (files, process …) any may.
BELOW = {
    "core": set(),
    "data": set(),
    "analysis": {"core"},
    "timm": {"core", "analysis"},
    "report": {"core", "analysis", "timm", "mm"},
    "mm": {"core", "data", "analysis"},
}


@pytest.mark.parametrize("room", ["core", "data"])
def test_a_room_loads_no_framework_and_warns_of_nothing(room):
    code = (
        f"import sys, aal_plugin.{room} as room\n"
        "for name in room.__all__: getattr(room, name)\n"
        f"print([name for name in {FRAMEWORKS} if name in sys.modules])"
    )
    done = subprocess.run(
        [sys.executable, "-W", "error", "-W", "ignore::ResourceWarning", "-c", code],
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert (done.stdout.strip(), done.stderr) == ("[]", "")


def imports_of(path):
    """Absolute names of the modules that a file imports, wherever in it, with their lines."""
    package = path.relative_to(PACKAGE.parent).parts[:-1]
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from ((alias.name, node.lineno) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            above = list(package[: len(package) - node.level + 1]) if node.level else []
            module = ".".join([*above, *filter(None, [node.module])])
            # `from aal_plugin import core` names a room only by what it imports.
            names = [f"{module}.{alias.name}" for alias in node.names]
            yield from (
                (name, node.lineno) for name in (names if module == "aal_plugin" else [module])
            )


def upward(files, below):
    """Imports of a room that may not be: 'core/x.py:3 imports mm'."""
    found = []
    for path in files:
        room = path.relative_to(PACKAGE).parts[0]
        for name, line in imports_of(path):
            top, _, rest = name.partition(".")
            other = rest.split(".")[0] if top == "aal_plugin" else top
            if other == room and top == "aal_plugin":
                continue
            is_room = top == "aal_plugin" and other in BELOW
            framework = top in FRAMEWORKS and room in ("core", "data")
            if framework or (is_room and other not in below.get(room, set(BELOW))):
                found.append(f"{path.relative_to(PACKAGE)}:{line} imports {name}")
    return found


def test_rooms_import_downwards_only():
    files = [path for path in PACKAGE.rglob("*.py") if path.parent != PACKAGE]
    assert len(files) > 80
    assert {path.relative_to(PACKAGE).parts[0] for path in files} <= set(BELOW)
    assert upward(files, BELOW) == []


@pytest.mark.parametrize(("room", "other"), [("teacher", "student"), ("student", "teacher")])
def test_teacher_and_student_do_not_import_each_other(room, other):
    files = list((PACKAGE / "core" / room).rglob("*.py"))
    found = [name for file in files for name, _ in imports_of(file)]
    assert files and not [n for n in found if n.startswith(f"aal_plugin.core.{other}")]
