"""What AALClassifier changes in models that MMPretrain and MMEngine build."""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np
from torch import nn
from torch.utils.checkpoint import checkpoint


def make_drop_rates_compilable(model: nn.Module) -> None:
    """Replace the NumPy drop rates of MMPretrain's backbones by plain numbers.

    `torch.compile` treats NumPy numbers as tensors and breaks the graph in every block.
    """
    module: Any
    for module in model.modules():
        if isinstance(getattr(module, "drop_prob", None), np.floating):
            module.drop_prob = float(module.drop_prob)


def make_checkpoints_nonreentrant(model: nn.Module) -> None:
    """Let gradients reach the recorders inside MMEngine's `activation_checkpointing`.

    MMEngine wraps forward methods in reentrant checkpoints, whose first pass runs without
    gradients: attention recorded in that pass would train the links but never the student.
    """
    for module in model.modules():
        forward = vars(module).get("forward")
        scope = getattr(forward, "__globals__", {}).get("__name__")
        if forward is not None and scope == "mmengine.runner.activation_checkpointing":
            module.forward = partial(checkpoint, forward.__wrapped__, use_reentrant=False)
