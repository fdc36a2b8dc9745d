"""Reads a config file, with errors that name the file."""

from __future__ import annotations

import ast
import os
from pathlib import Path

from mmengine.config import Config

from aal_plugin.files import configs_folder


def read_config(path: str | os.PathLike) -> Config:
    """`Config.fromfile`, for both of MMEngine's config styles.

    Sets the environment variable AAL_CONFIGS to the folder of this package's configs, unless it is
    set, so that `_base_ = "{{$AAL_CONFIGS:}}/folder/deit-s_folder.py"` works from any folder.

    Raises:
        FileNotFoundError: the file, or one of its `_base_` files, does not exist.
        ValueError: the file is not a config; names the file, and the line if it is known.
    """
    os.environ.setdefault("AAL_CONFIGS", str(configs_folder()))
    path = str(path)
    try:
        if "::" not in path:  # mmpretrain::… is a config of MMPretrain
            if not Path(path).is_file():
                raise FileNotFoundError(f"no such file in {Path.cwd()}")
            if path.endswith(".py"):
                ast.parse(Path(path).read_text(encoding="utf-8"), path)
        return Config.fromfile(path)
    except FileNotFoundError as error:
        raise FileNotFoundError(f"config {path!r}: {error}") from error
    except SyntaxError as error:
        base = f" in {error.filename}" if error.filename != path else ""
        raise ValueError(f"config {path!r}{base}, line {error.lineno}: {error.msg}") from error
    except (OSError, ValueError) as error:
        raise ValueError(f"config {path!r}: {error}") from error
