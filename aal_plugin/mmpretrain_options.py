"""The options of MMPretrain's scripts, without importing MMPretrain."""

from __future__ import annotations

import argparse
import ast
import os
from contextlib import suppress
from importlib.util import find_spec
from pathlib import Path
from typing import Any


def check_options(name: str) -> None:
    """Answer --help and mistakes in `sys.argv` at once, as MMPretrain's tools/<name>.py would.

    The script's imports take seconds, so its function parse_args runs without them. Does nothing if
    the options are right, or where the script is another one than was known here.

    Raises:
        SystemExit: by argparse.
    """
    spec = find_spec("mmpretrain")
    if spec is None or spec.origin is None:  # `import aal_plugin.mm` says what to install
        return
    package = Path(spec.origin).parent
    places = (package / ".mim/tools", package.parent / "tools")  # the second if it is editable
    for script in (place / f"{name}.py" for place in places):
        if script.is_file():
            body = ast.parse(script.read_text(encoding="utf-8")).body
            found = [node for node in body if getattr(node, "name", "") == "parse_args"]
            names: dict[str, Any] = dict(argparse=argparse, os=os, DictAction=_Stored)
            exec(compile(ast.Module(found, []), str(script), "exec"), names)
            with suppress(NameError, KeyError):
                names["parse_args"]()
            return


class _Stored(argparse.Action):
    """Stands in for MMEngine's DictAction."""

    def __call__(self, parser: Any, namespace: Any, values: Any, option: Any = None) -> None:
        setattr(namespace, self.dest, values)
