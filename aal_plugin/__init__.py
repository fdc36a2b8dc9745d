"""Adaptive Attention Link-based regularisation (AAL) for Vision Transformers.

Importing this package registers its MMEngine parts, so that a config with
`custom_imports = dict(imports=['aal_plugin'])` can name them. Without MMEngine, MMPretrain and
MMCV, `aal_plugin.core`, `aal_plugin.data` and `aal_plugin.timm` work all the same.
"""

import warnings as _warnings
from importlib.util import find_spec as _find_spec

__version__ = "0.1.0"

_missing = [name for name in ("mmengine", "mmcv", "mmpretrain") if _find_spec(name) is None]
if _missing:
    _warnings.warn(
        f"aal_plugin: {', '.join(_missing)} not installed, so the MMPretrain parts (AALClassifier "
        "and the rest) are not registered. Install them with: pip install 'aal_plugin[openmmlab]' "
        "(or, for the maintained fork, pip install 'aal_plugin[onedl]')",
        stacklevel=2,
    )
else:
    from .mm import *  # noqa: F403
