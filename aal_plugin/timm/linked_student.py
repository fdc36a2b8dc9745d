"""`TimmLinkedStudent`: `LinkedStudent` that answers timm's questions about a model."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from timm.models import group_parameters
from timm.optim import auto_group_layers
from torch import nn

from aal_plugin.core import LinkedStudent
from aal_plugin.core.images import image_channels_of

_logger = logging.getLogger(__name__)


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

    def task_state(self) -> dict[str, Any]:
        """What a checkpoint holds beside the student: the parts' weights and what they join.

        `links` holds the arguments of `analysis.link_strength`.
        """
        state: dict[str, Any] = {}
        if self.link_loss is not None:
            weights = self.links.state_dict(prefix="links.")
            state["links"] = dict(
                state_dict=weights, ranges=self.links.ranges, heads=self.links.heads
            )
        if self.guidance is not None:
            weights = self.guidance.state_dict()
            state["guidance"] = dict(state_dict=weights, pairs=self.guidance.pairs)
        return state

    def load_task_state(self, state: Mapping[str, Any], strict: bool = True) -> None:
        """Load a `task_state`; warns of a part that it lacks.

        Raises:
            ValueError: a part is of another kind, or has other blocks, heads, levels or channels.
        """
        for name, own in self.task_state().items():
            if name not in state:
                _logger.warning(
                    f"the checkpoint holds no {name} (task_state); new ones are trained"
                )
                continue
            try:
                theirs = dict(state[name])
                weights = theirs.pop("state_dict").items()
                del own["state_dict"]
                if theirs != own:
                    raise ValueError(f"they have {theirs}, this run's have {own}")
                weights = {key.removeprefix("links."): value for key, value in weights}
                self.parts[name].load_state_dict(weights, strict=strict)
            except (AttributeError, KeyError, RuntimeError, TypeError, ValueError) as error:
                raise ValueError(
                    f"the checkpoint's {name} cannot be loaded: {' '.join(str(error).split())}; "
                    f"choose the {name}, teacher and student that the checkpoint was trained with"
                ) from error

    def __getattr__(self, name: str) -> Any:
        """A public attribute that this module does not have is the student's."""
        try:
            return super().__getattr__(name)
        except AttributeError:
            if name.startswith("_") or "student" not in self.__dict__.get("_modules", ()):
                raise
            return getattr(self.student, name)


def one_per_channel(values: Sequence[float], model: nn.Module) -> Sequence[float]:
    """A mean or std for the model's images: the average if it has another number of channels.

    timm's loader normalises with the average, and its `pretrained_cfg` always has three values.
    """
    channels = image_channels_of(model)
    same = len(values) == channels
    return values if same else [sum(values) / len(values)] * channels
