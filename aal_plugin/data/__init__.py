"""The embedded shapes set. Needs NumPy (and Pillow to export), but neither torch nor MMEngine."""

from __future__ import annotations

from importlib import import_module
from typing import Any

_HOME = {
    "CLASSES": "silhouettes",
    "MIN_SIZE": "shapes",
    "SPLITS": "shapes",
    "Shapes": "shapes",
    "check_whole": "shapes",
    "draw_shapes": "shapes",
    "load_shapes": "shapes",
    "split_seed": "shapes",
    "export_image_folder": "shapes_export",
    "preview": "shapes_export",
}
__all__ = list(_HOME)


# Imported on first use: `python -m aal_plugin.data.shapes` warns if shapes.py is already imported
# when it starts, and importing it here would cause that.
def __getattr__(name: str) -> Any:
    if name in _HOME:
        return getattr(import_module(f".{_HOME[name]}", __name__), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
