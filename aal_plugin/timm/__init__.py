"""AAL for timm's own trainer: a `timm.task.TrainingTask`, and what tools/timm_train.py needs."""

try:
    from timm.task import resume_task_checkpoint as _resume  # noqa: F401
except ImportError:
    raise ImportError(
        "aal_plugin.timm needs timm >= 1.0.27, the first whose train.py gives its optimizer what "
        "a task trains; install it with: pip install 'aal_plugin[timm]'"
    ) from None

from .attention_link_task import AttentionLinkTask
from .distillation import Distillation
from .linked_student import TimmLinkedStudent

__all__ = ["AttentionLinkTask", "Distillation", "TimmLinkedStudent"]
