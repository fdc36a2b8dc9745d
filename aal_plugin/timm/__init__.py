"""AAL for timm's own trainer: a `timm.task.TrainingTask`, and what tools/timm_train.py needs."""

from importlib.util import find_spec as _find_spec

if _find_spec("timm") is None or _find_spec("timm.task") is None:
    raise ImportError(
        "aal_plugin.timm needs timm >= 1.0.27, the first with timm.task; "
        "install it with: pip install 'timm>=1.0.27'"
    )

from .attention_link_task import AttentionLinkTask
from .distillation import Distillation
from .linked_student import TimmLinkedStudent

__all__ = ["AttentionLinkTask", "Distillation", "TimmLinkedStudent"]
