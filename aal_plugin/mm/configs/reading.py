"""A config from a file, with errors that name the file."""

from __future__ import annotations

import ast
import os
from pathlib import Path

from mmengine.config import Config


def read_config(path: str | os.PathLike) -> Config:
    """`Config.fromfile`.

    Raises:
        FileNotFoundError: no such file, or none of a `_base_`.
        ValueError: a file that is no config; names it, and the line where there is one.
    """
    path = str(path)
    if "::" not in path:  # mmpretrain::… names one of its own
        if Path(path).is_dir():
            raise ValueError(f"config {path!r} is a folder; name a file in it")
        if not Path(path).is_file():
            raise FileNotFoundError(f"config {path!r}: No such file; looked for in {Path.cwd()}")
        if path.endswith(".py"):
            _check_syntax(path)
    try:
        return Config.fromfile(path)
    except FileNotFoundError as error:
        raise FileNotFoundError(f"config {path!r}: {error}") from error
    except SyntaxError as error:  # of a _base_
        raise ValueError(f"config {path!r}: {error.filename}: {error}") from error
    except OSError as error:
        raise ValueError(f"config {path!r}: {error}") from error


def _check_syntax(path: str) -> None:
    try:
        ast.parse(Path(path).read_text(encoding="utf-8"), path)
    except (SyntaxError, ValueError) as error:
        line = f", line {error.lineno}" if isinstance(error, SyntaxError) else ""
        raise ValueError(f"config {path!r}{line}: {error}") from error
