"""A frozen CNN that yields stage maps and, when asked, logits.

# B batch, C channels of a level, L levels, h w that level's grid, K classes
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cached_property, partial
from typing import Any

import torch
from torch import Tensor, nn

from .fold import fold_batch_norms
from .stages import as_map, check_names, default_layers, named_modules_of, output_formats
from .weights import check_finite


class FrozenTeacher(nn.Module):
    """A CNN without gradients, always in eval mode, whose stage outputs are recorded.

    `model.train()` of an owner does not reach its batch norms, dropout or drop-path, and a deep
    copy of an owner shares it: what cannot change need not be copied.

    Args:
        model: the network.
        layers: dotted names of the modules whose outputs are the levels, in order; found from the
            model by default, see `default_layers`.
        features: runs the model up to its last layer, without the classifier, when no logits are
            wanted; by default the whole model runs.
        mean, std: normalisation that the model was trained with, in pixel values (0–255), one
            for each of R, G, B in the order of `rgb`. None: it takes what it is given.
        rgb: whether the model was trained on RGB images (else BGR).
        channels_last: infer on images and weights in that memory format.
        fold_norms: fold batch norms into convolutions; maps are the same to rounding.
        dtype: 'bfloat16' or 'float16': infer in it. None: in float32, or as autocast says.
        compile: `torch.compile` the inference.
        name: what errors call the teacher; by default the model's class.
        input_size: (H, W) of the images that the model was built for; it is tried out on one.

    A model that answers in (B, h, w, C), as timm's `output_fmt == "NHWC"` says, yields
    (B, C, h, w) too. In float16, values beyond its range become its largest, so that one map
    that overflows does not make the whole loss NaN; bfloat16 has the range of float32.

    Attributes:
        channels: channels of each level.

    Raises:
        ValueError: a layer that the model lacks, or whose output is no (B, C, h, w) map; a dtype
            other than those; weights that hold NaN; images that the model cannot take.
    """

    def __init__(
        self,
        model: nn.Module,
        layers: Sequence[str] | None = None,
        features: Callable[[Tensor], Any] | None = None,
        mean: Sequence[float] | None = None,
        std: Sequence[float] | None = None,
        rgb: bool = True,
        channels_last: bool = True,
        fold_norms: bool = True,
        dtype: str | None = None,
        compile: bool = False,
        name: str | None = None,
        input_size: tuple[int, int] = (224, 224),
    ) -> None:
        super().__init__()
        self.name = name or type(model).__name__
        self._input_size = tuple(input_size)
        if dtype not in (None, "bfloat16", "float16"):
            raise ValueError(f"teacher.dtype={dtype!r}; choose 'bfloat16', 'float16' or None")
        check_finite(model, f"teacher {self.name}")
        self.model = model.requires_grad_(False)
        if layers is not None:
            check_names(layers, "teacher.layers")
        self.layers = list(layers) if layers is not None else default_layers(model)
        self._features = features or model
        self._mean, self._std, self._rgb = mean, std, rgb
        self._flip = False
        self.register_buffer("input_scale", None)
        self.register_buffer("input_shift", None)
        self._kept: list[tuple[int, Tensor]] = []
        self._order: list[int] = []  # of the levels in a forward pass, once it was seen
        self._stops = False
        for level, module in enumerate(named_modules_of(model, self.layers, "teacher.layers")):
            module.register_forward_hook(partial(self._keep, level))
        self._formats = output_formats(model, self.layers)
        self.train(False)
        self._dtype: torch.dtype | None = None
        self._channels_last = False  # no torch.memory_format: torch.save could not pickle it
        self._run = self._infer
        # The first pass runs the whole model: what reads a convolution must all be seen.
        levels = self._probe()
        if fold_norms:
            fold_batch_norms(model, self._probe)
        self.channels = [level.shape[1] for level in levels]
        if dtype is not None:
            self._dtype = getattr(torch, dtype)
            model.to(self._dtype)
            check_finite(model, f"teacher.dtype={dtype!r}: teacher {self.name}")
        if channels_last:
            self._channels_last = True
            model.to(memory_format=torch.channels_last)
        if compile:
            self._run = torch.compile(self._infer)

    @property
    def normalises(self) -> bool:
        """Whether the model was trained with a mean and std of its own."""
        return self._mean is not None

    @property
    def rgb(self) -> bool:
        """Whether the model was trained on RGB images."""
        return self._rgb

    def match_input(
        self, mean: Sequence[float] | None, std: Sequence[float] | None, rgb: bool
    ) -> None:
        """Tell how the images to come are normalised, in pixel values; None: not at all.

        From then on they are re-normalised to the teacher's own mean, std and channel order.
        """
        self._flip = rgb != self._rgb
        if self._mean is None:
            return
        own_mean, own_std = (_channelwise(v) for v in (self._mean, self._std))
        given_mean = _channelwise(mean if mean is not None else (0.0, 0.0, 0.0))
        given_std = _channelwise(std if std is not None else (1.0, 1.0, 1.0))
        if self._flip:
            given_mean, given_std = given_mean.flip(1), given_std.flip(1)
        scale, shift = given_std / own_std, (given_mean - own_mean) / own_std
        if not (torch.allclose(scale, torch.ones(1)) and torch.allclose(shift, torch.zeros(1))):
            device = next(self.model.parameters()).device
            self.input_scale, self.input_shift = scale.to(device), shift.to(device)

    def forward(
        self, images: Tensor, with_logits: bool = False, with_gradient: bool = False
    ) -> tuple[list[Tensor], Tensor | None]:
        """Images (B, 3, H, W), as the student sees them → maps (B, C, h, w) per level, logits.

        Logits are (B, K), or None when not asked for; then the classifier is not run. Only
        `with_gradient` can they be differentiated, by the images.
        """
        with torch.set_grad_enabled(with_gradient):
            if self._flip:
                images = images.flip(1)
            if self.input_scale is not None:
                images = images * self.input_scale + self.input_shift
            if self._dtype is None:
                return self._run(images, with_logits)
            with torch.autocast(images.device.type, enabled=False):
                maps, logits = self._run(images.to(self._dtype), with_logits)
            if self._dtype == torch.float16:  # see the class
                maps = [torch.nan_to_num(level) for level in maps]
                logits = logits if logits is None else torch.nan_to_num(logits)
            return maps, logits

    @cached_property
    def num_classes(self) -> int:
        """Classes of the logits, as the model itself tells them."""
        _, logits = self(self._blank(), with_logits=True)
        if not isinstance(logits, Tensor) or logits.dim() != 2:
            raise ValueError(
                f"teacher: {self.name} has no classifier, and a loss of its logits needs one"
            )
        return logits.shape[-1]

    def _infer(self, images: Tensor, with_logits: bool) -> tuple[list[Tensor], Tensor | None]:
        if self._channels_last:
            images = images.to(memory_format=torch.channels_last)
        # A compiler leaves out by itself what comes after the last level.
        whole = with_logits or torch.compiler.is_compiling()
        self._stops = not whole and len(self._order) == len(self.layers)
        logits = None
        try:
            logits = self.model(images) if with_logits else self._features(images)
        except _LastLevel:
            pass
        except (AssertionError, RuntimeError) as error:
            size = tuple(images.shape[-2:])
            if size == self._input_size or isinstance(error, torch.cuda.OutOfMemoryError):
                raise
            raise ValueError(
                f"teacher {self.name} cannot take images of {size[0]}×{size[1]} pixels, though it "
                f"takes {self._input_size[0]}×{self._input_size[1]}; train on images of that size, "
                f"or choose another teacher ({type(error).__name__}: {error})"
            ) from error
        finally:
            self._stops = False
            kept, self._kept = self._kept, []
        self._order = self._order or [level for level, _ in kept]
        levels = dict(kept)
        if len(levels) < len(self.layers):
            missed = [name for level, name in enumerate(self.layers) if level not in levels]
            raise ValueError(f"teacher.layers: {missed} took no part in {self.name}")
        size = tuple(images.shape[-2:])
        maps = [
            as_map(levels[level], fmt, size, f"teacher.layers: {name!r} of {self.name}").detach()
            for level, (name, fmt) in enumerate(zip(self.layers, self._formats))
        ]
        return maps, logits if with_logits else None

    def train(self, mode: bool = True) -> FrozenTeacher:
        """Stays in eval mode, whatever `mode` says."""
        return super().train(False)

    def __deepcopy__(self, memo: dict[int, Any]) -> FrozenTeacher:
        return self

    def _keep(self, level: int, module: nn.Module, inputs: Any, output: Any) -> None:
        self._kept.append((level, output))
        if self._stops and level == self._order[-1]:
            raise _LastLevel

    def _probe(self) -> list[Tensor]:
        height, width = self._input_size
        try:
            maps, _ = self(self._blank(), with_logits=True)
        except (AssertionError, RuntimeError) as error:
            raise ValueError(
                f"teacher {self.name} cannot take an image of {height}×{width} pixels "
                f"({type(error).__name__}: {error})"
            ) from error
        return maps

    def _blank(self) -> Tensor:
        return next(self.model.parameters()).new_zeros(1, 3, *self._input_size)


class _LastLevel(Exception):
    """Ends a forward pass whose remainder nobody needs."""


def _channelwise(values: Sequence[float]) -> Tensor:
    return torch.tensor([float(value) for value in values]).view(1, -1, 1, 1)
