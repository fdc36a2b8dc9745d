"""How each level is read from the output of its layer.

# B batch, T tokens, C channels, h w grid of a layer, H W image size
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

from torch import Tensor, nn

from aal_plugin.core.student.families import known_reader

from .layer_names import split_item
from .layer_output import as_map, has_channels_last, prefix_tokens


class Level(NamedTuple):
    """A level of a teacher: what its layer returns, found with one image.

    layer: name in error messages. fmt: 'NCHW' or 'NHWC'. num_prefix_tokens: tokens ahead of the
    patches, or None for a layer that returns maps.

    Example:
        >>> import torch
        >>> level = Level("layer4", "NHWC", None)
        >>> level.map_of(torch.zeros(1, 7, 7, 32), (1, 3, 224, 224)).shape
        torch.Size([1, 32, 7, 7])
    """

    layer: str
    fmt: str
    num_prefix_tokens: int | None

    @property
    def is_transformers(self) -> bool:
        """Whether the layer returns tokens, or maps with channels last."""
        return self.fmt == "NHWC" or self.num_prefix_tokens is not None

    def map_of(self, output: Any, images: tuple[int, ...]) -> Tensor:
        """The map (B, C, h, w) in an output for images of shape (B, 3, H, W).

        Raises:
            ValueError: the output is no map.
        """
        height, width = images[-2:]
        level = as_map(output, self.fmt, (height, width), self.layer, self.num_prefix_tokens)
        if level.shape[0] != images[0]:
            raise ValueError(
                f"{self.layer} returns {level.shape[0]} maps for {images[0]} images; expected the "
                "batch as the first axis. Choose a layer outside of windows, and a transformer "
                "whose tokens are (B, T, C)"
            )
        return level


def read_levels(
    model: nn.Module,
    layers: Sequence[str],
    outputs: Sequence[Any],
    image_size: tuple[int, int],
    whose: Sequence[str],
    num_prefix_tokens: int | None = None,
) -> list[Level]:
    """Find out how to read each layer's output, from one forward pass.

    Args:
        model: the owner of the layers.
        layers: their dotted names.
        outputs: what they returned for images of `image_size`.
        image_size: (H, W).
        whose: the layers' names in error messages.
        num_prefix_tokens: tokens ahead of the patches; None: as the model states it, or as few
            as leave a full grid.

    Raises:
        ValueError: a model whose tokens are not in the order of its grid.

    Example:
        >>> import timm, torch
        >>> model = timm.create_model("test_vit")
        >>> read_levels(model, ["blocks.0"], [torch.zeros(1, 101, 64)], (160, 160), ["blocks.0"])
        [Level(layer='blocks.0', fmt='NCHW', num_prefix_tokens=1)]
    """
    levels = []
    stated = [num_prefix_tokens] * len(layers)
    if num_prefix_tokens is None and any(prefix_tokens(o, image_size) is not None for o in outputs):
        stated = stated_prefix_tokens(model, layers)
    for layer, fmt, output, number, name in zip(
        layers, output_formats(model, layers), outputs, stated, whose
    ):
        number = prefix_tokens(output, image_size, number)
        if number is not None and num_prefix_tokens is not None:
            number = num_prefix_tokens
        if number is not None and _nearest(model, layer, "reroll") is not None:
            raise ValueError(
                f"{name} returns tokens that are not in the order of their grid (Hiera); set "
                "features_only=True for the maps that timm makes of them"
            )
        last = has_channels_last(output, image_size)
        levels.append(Level(name, "NHWC" if last else fmt, number))
    return levels


def output_formats(model: nn.Module, names: Sequence[str]) -> list[str]:
    """The format of each layer's output, from the nearest `output_fmt` (timm) above the layer.

    Args:
        model: the owner of the layers.
        names: their dotted names.

    Returns:
        'NHWC' or 'NCHW' for each name; 'NCHW' if nothing states it.

    Example:
        >>> import timm
        >>> output_formats(timm.create_model("mambaout_femto"), ["stages.0"])
        ['NHWC']
    """
    return [str(_nearest(model, name, "output_fmt") or "NCHW") for name in names]


def stated_prefix_tokens(model: nn.Module, names: Sequence[str]) -> list[int | None]:
    """The prefix tokens of each layer as its model states them.

    A block of a known family (`core.student.families`) has the number of its reader; otherwise
    the nearest `num_prefix_tokens` (timm) or `num_extra_tokens` (MMPretrain) above the layer.

    Args:
        model: the owner of the layers.
        names: their dotted names.

    Returns:
        A number for each name, or None if nothing states it.

    Example:
        >>> import timm
        >>> stated_prefix_tokens(timm.create_model("test_vit"), ["blocks.0"])
        [1]
    """
    reader = known_reader(model)
    of_block = {id(b.block): b.num_prefix_tokens for b in reader.blocks} if reader else {}
    stated = []
    for name in names:
        number = of_block.get(id(inside(model, split_item(name)[0])))
        for attribute in ("num_prefix_tokens", "num_extra_tokens"):
            number = _nearest(model, name, attribute) if number is None else number
        stated.append(number if isinstance(number, int) else None)
    return stated


def _nearest(model: nn.Module, layer: str, attribute: str) -> Any:
    """An attribute of the nearest module that has it, from the layer upwards."""
    parts, found = [part for part in split_item(layer)[0].split(".") if part], None
    for end in range(len(parts) + 1):
        found = getattr(inside(model, ".".join(parts[:end])), attribute, found)
    return getattr(found, "value", found)


def inside(model: nn.Module, prefix: str) -> Any:
    """The module of a dotted name, which may end with a dot, or None.

    Example:
        >>> inside(nn.Sequential(nn.ReLU()), "0"), inside(nn.ReLU(), "0")
        (ReLU(), None)
    """
    found: Any = model
    for name in filter(None, prefix.split(".")):
        found = getattr(found, name, None)
    return found
