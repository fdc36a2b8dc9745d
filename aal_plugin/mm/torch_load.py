"""Lets `torch.load(weights_only=True)` read what MMEngine writes into its checkpoints.

Since torch 2.6 that is the default, and it refuses the log history that every MMEngine checkpoint
carries. The classes below, and no others, are allowed besides torch's own list.
"""

import numpy as np
import torch
from mmengine.logging import HistoryBuffer

try:
    from numpy._core.multiarray import _reconstruct, scalar
except ImportError:  # NumPy 1
    from numpy.core.multiarray import _reconstruct, scalar

_ALLOWED = [
    HistoryBuffer,
    np.ndarray,
    np.dtype,
    _reconstruct,
    scalar,
    *(type(np.dtype(kind)) for kind in (np.float32, np.float64, np.int32, np.int64)),
]

if hasattr(torch.serialization, "add_safe_globals"):  # torch 2.4
    torch.serialization.add_safe_globals(_ALLOWED)
