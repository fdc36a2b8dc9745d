"""`TimmLinkedStudent`: `LinkedStudent` that answers timm's questions about a model."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from timm.models import group_parameters
from timm.optim import auto_group_layers
from torch import nn

from aal_plugin.core import LinkedStudent


class TimmLinkedStudent(LinkedStudent):
    """A student, links and guidance, with the student's weight-decay and layer-decay groups.

    Other attributes that timm knows a model by, such as `num_classes`, `pretrained_cfg` or
    `get_classifier`, are the student's.

    Args:
        student, channels, links, map_size, antialias, attention_layers, guidance: see
            `LinkedStudent`.
    """

    @property
    def parts(self) -> dict[str, nn.Module]:
        """What is trained beside the student: 'links', 'guidance' or both."""
        parts = dict(links=self.link_loss and self.links, guidance=self.guidance)
        return {name: part for name, part in parts.items() if part is not None}

    def added_parameters(self) -> Iterator[nn.Parameter]:
        """The parameters of the parts."""
        return (parameter for part in self.parts.values() for parameter in part.parameters())

    def no_weight_decay(self) -> set[str]:
        """The student's own parameters without weight decay, by their names in this module."""
        names: set[str] = getattr(self.student, "no_weight_decay", set)()
        return {f"student.{name}" for name in names}

    def group_matcher(self, coarse: bool = False) -> Callable[[str], int]:
        """The student's layers, as timm groups it alone; what is added belongs to the last one."""
        student: Any = self.student
        if hasattr(student, "group_matcher"):
            matcher = student.group_matcher(coarse=coarse)
            layers = group_parameters(student, matcher, reverse=True)
        else:  # PiT: timm cuts the list of parameters into layers
            layers = auto_group_layers(student)
        last = max(layers.values())
        layers = {f"student.{name}": layer for name, layer in layers.items()}
        return lambda name: layers.get(name, last)

    def __getattr__(self, name: str) -> Any:
        """A public attribute that this module does not have is the student's."""
        try:
            return super().__getattr__(name)
        except AttributeError:
            if name.startswith("_") or "student" not in self.__dict__.get("_modules", ()):
                raise
            return getattr(self.student, name)
