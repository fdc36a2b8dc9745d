"""`TimmLinkedStudent`: `LinkedStudent` with what timm's optimizer factory asks a model for."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from timm.models import group_parameters

from aal_plugin.core import LinkedStudent


class TimmLinkedStudent(LinkedStudent):
    """A student and its links, with the student's weight-decay and layer-decay groups.

    Args:
        student, channels, links, map_size, antialias, attention_layers: see `AttentionLinkLoss`.
    """

    def no_weight_decay(self) -> set[str]:
        """The student's own parameters without weight decay, by their names in this module."""
        names: set[str] = getattr(self.student, "no_weight_decay", set)()
        return {f"student.{name}" for name in names}

    def group_matcher(self, coarse: bool = False) -> Callable[[str], int] | dict[str, Any]:
        """The student's layers; the links belong to the last layer, as the student's head does."""
        if not hasattr(self.student, "group_matcher"):
            return {}
        student: Any = self.student
        matcher = student.group_matcher(coarse=coarse)
        layers = group_parameters(self.student, matcher, reverse=True)
        last = max(layers.values())
        layers = {f"student.{name}": layer for name, layer in layers.items()}
        return lambda name: layers.get(name, last)
