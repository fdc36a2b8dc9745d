"""Adaptive Attention Link-based regularisation (AAL) for Vision Transformers.

`aal_plugin.core` holds the method in plain torch. `aal_plugin.mm` registers the parts that
MMPretrain configs name, `aal_plugin.timm` holds the task for timm's train script.
"""

from typing import TYPE_CHECKING as _TYPE_CHECKING

__version__ = "0.1.0"

if not _TYPE_CHECKING:  # a type checker would accept any name

    def __getattr__(name: str) -> type:
        from .old_names import MOVED, moved_class

        if name in MOVED:
            return moved_class(name)
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
