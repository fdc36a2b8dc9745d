"""Lets `torch.load(weights_only=True)` read what MMEngine writes into its checkpoints.

Since torch 2.6 that is the default, and it refuses the log history that every MMEngine checkpoint
carries. What is named here, and nothing else, is allowed besides torch's own list.
"""

import pickle
from typing import Any

import numpy as np
import torch
from mmengine.logging import HistoryBuffer
from mmengine.optim import OneCycleParamScheduler
from mmengine.utils import digit_version

try:
    from numpy._core.multiarray import _reconstruct, scalar
except ImportError:  # NumPy 1
    from numpy.core.multiarray import _reconstruct, scalar


_METHODS = {
    HistoryBuffer: ("min", "max", "current", "mean"),
    OneCycleParamScheduler: ("_annealing_cos", "_annealing_linear"),
}


def _known_method(owner: Any, name: str) -> Any:
    """Stands in for `getattr`, with which Python pickles the methods that these two keep."""
    if isinstance(owner, type) and name in _METHODS.get(owner, ()):
        return getattr(owner, name)
    raise pickle.UnpicklingError(f"refused: attribute {name!r} of {owner!r}")


def allow_mmengine_checkpoints() -> None:
    """Extend torch's allow-list; done when this package is imported.

    The onedl fork's own loader takes its part of the list away again when it has loaded a file.
    """
    if digit_version(torch.__version__) >= digit_version("2.6.0"):
        torch.serialization.add_safe_globals(_ALLOWED)


_ALLOWED = [
    *_METHODS,
    (_known_method, "builtins.getattr"),
    np.ndarray,
    np.dtype,
    (_reconstruct, "numpy.core.multiarray._reconstruct"),
    (_reconstruct, "numpy._core.multiarray._reconstruct"),
    (scalar, "numpy.core.multiarray.scalar"),
    (scalar, "numpy._core.multiarray.scalar"),
    *(type(np.dtype(kind)) for kind in (np.float32, np.float64, np.int32, np.int64)),
]
allow_mmengine_checkpoints()
