"""Reads a config that MMEngine dumped, without running it."""

from __future__ import annotations

import ast
from pathlib import Path
from typing import Any


def read_literal_config(path: str | Path) -> dict[str, Any]:
    """The top-level values of a dumped config.

    A dumped config assigns literals and `dict(...)` calls. Python parses it here, but nothing in
    the file runs. An expression of another kind becomes its source text.

    Raises:
        SyntaxError: the file is not Python.

    Example:
        >>> import tempfile
        >>> with tempfile.NamedTemporaryFile("w", suffix=".py") as file:
        ...     _ = file.write("model = dict(type='A', size=(2, 3))")
        ...     file.flush()
        ...     read_literal_config(file.name)
        {'model': {'type': 'A', 'size': (2, 3)}}
    """
    tree = ast.parse(Path(path).read_text(encoding="utf-8"))
    return {
        node.targets[0].id: _value(node.value)
        for node in tree.body
        if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name)
    }


def _value(node: ast.expr) -> Any:
    if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "dict":
        return {word.arg: _value(word.value) for word in node.keywords if word.arg is not None}
    if isinstance(node, ast.Dict):
        keys = [key for key in node.keys if isinstance(key, ast.Constant)]
        return {key.value: _value(value) for key, value in zip(keys, node.values)}
    if isinstance(node, (ast.List, ast.Tuple)):
        values = [_value(entry) for entry in node.elts]
        return values if isinstance(node, ast.List) else tuple(values)
    try:
        return ast.literal_eval(node)
    except ValueError:
        return ast.unparse(node)
