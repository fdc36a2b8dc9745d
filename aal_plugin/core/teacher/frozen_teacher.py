"""A frozen network that returns maps of its layers and, if asked, logits.

# B batch, C channels of a level, L levels, h w that level's grid, K classes
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from functools import cached_property
from typing import Any

import torch
from torch import Tensor, nn

from aal_plugin.core.images import image_channels_of
from aal_plugin.core.layer_names import check_names
from aal_plugin.core.settings import check_choice
from aal_plugin.older_releases import is_compiling

from .fold import fold_batch_norms
from .levels import Levels
from .teacher_images import TeacherImages, checked_size
from .weights import check_finite


class FrozenTeacher(nn.Module):
    """A network without gradients, always in eval mode, whose layers give the levels.

    Each level is a map (B, C, h, w), whatever the network returns: maps with channels last are
    transposed, patch tokens return to their grid without class token and registers. A deep copy of
    an owner shares the teacher: nothing in it can change.

    Args:
        model: a CNN or a transformer, of which the teacher uses a copy, see `copy_model`.
        layers: dotted names of the modules whose outputs are the levels, in order; `name[item]`
            is one entry of a list, tuple or dict. None: the stages of a CNN or a hierarchical
            transformer, and four evenly spaced blocks of a ViT.
        features: runs the model without its classifier, used when no logits are needed; by
            default the whole model runs. A method of the model, or a partial of one.
        mean, std: normalisation that the model was trained with, in pixel values (0–255), one
            number per channel in the order of `rgb`. None: it receives the student's images.
        rgb: whether the model was trained on RGB images (else BGR).
        channels_last: infer with images and weights in that memory format.
        fold_norms: fold batch norms into convolutions; maps are equal up to rounding.
        dtype: 'bfloat16' or 'float16': infer in it; float16's overflows become its largest value,
            so that one map does not make the loss NaN. None: in float32, or as autocast says.
        compile: `torch.compile` the inference.
        name: the teacher's, for error messages; by default the model's class.
        input_size: (H, W), or (C, H, W), of the images that the model was built for; one such
            image is tried. C is by default that of the model's first convolution.
        image_size: one number or (H, W): images are resized to it for the teacher alone.
        num_prefix_tokens: tokens ahead of a transformer's patches, see `Levels`.
        image_channels: which of the student's channels the teacher receives, see `TeacherImages`.
        copy_model: False saves memory: `model` itself is frozen, and its norms are folded for good.

    Attributes:
        layers, channels: names and channels of the levels.

    Raises:
        ValueError: the model has no such layer, or one returns no map; a setting is not one of
            those above; weights contain NaN; the model does not accept the images.

    Example:
        >>> import timm
        >>> teacher = FrozenTeacher(timm.create_model("test_vit"), input_size=(160, 160))
        >>> maps, logits = teacher(torch.zeros(2, 3, 160, 160))
        >>> teacher.layers, maps[0].shape
        (['blocks.1', 'blocks.2', 'blocks.4', 'blocks.5'], torch.Size([2, 64, 10, 10]))
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
        input_size: tuple[int, ...] = (224, 224),
        image_size: int | Sequence[int] | None = None,
        num_prefix_tokens: int | None = None,
        image_channels: Sequence[int] | None = None,
        copy_model: bool = True,
    ) -> None:
        super().__init__()
        self.name = name or type(model).__name__
        if dtype is not None:
            check_choice("teacher.dtype", dtype, ("bfloat16", "float16"))
        if layers is not None:
            check_names(layers, "teacher.layers")
        resized = checked_size("teacher.image_size", image_size)
        self._input_size = resized or (input_size[-2], input_size[-1])
        colours = input_size[0] if len(input_size) == 3 else image_channels_of(model)
        self.images = TeacherImages(mean, std, rgb, resized, image_channels, colours, self.name)
        check_finite(model, f"teacher {self.name}")
        if copy_model:
            model, features = copy.deepcopy((model, features))  # a method goes with its model
        self.model = model.requires_grad_(False)
        self._features = features or model
        self._dtype: torch.dtype | None = None
        self._channels_last = False  # no torch.memory_format: torch.save could not pickle it
        self._run = self._infer
        self.train(False)
        self._levels = self._tried(
            lambda: Levels(model, layers, self._blank(), self.name, num_prefix_tokens)
        )
        self.layers, self.channels = self._levels.layers, self._levels.channels
        if fold_norms:  # the whole model runs: what reads a convolution must all run
            fold_batch_norms(model, lambda: self._infer(self._blank(), with_logits=True)[0])
        if dtype is not None:
            self._dtype = getattr(torch, dtype)
            model.to(self._dtype)
            check_finite(model, f"teacher.dtype={dtype!r}: teacher {self.name}")
        if channels_last:
            self._channels_last = True
            model.to(memory_format=torch.channels_last)
        if compile:
            self._run = torch.compile(self._infer)

    def match_input(
        self, mean: Sequence[float] | None, std: Sequence[float] | None, rgb: bool, **advice: str
    ) -> None:
        """Set how the student's images are normalised, in pixel values; None: not at all.

        One number or one per channel, in the order of `rgb`. The teacher re-normalises the images
        to its own mean, std and channel order. The next batch is compared with this.
        """
        self.images.match(mean, std, rgb, next(self.model.parameters()).device, **advice)

    def forward(
        self, images: Tensor, with_logits: bool = False, with_gradient: bool = False
    ) -> tuple[list[Tensor], Tensor | None]:
        """Images (B, S, H, W) as the student sees them → maps (B, C, h, w) and logits (B, K).

        Args:
            with_logits: run the classifier too; the logits are None otherwise.
            with_gradient: make the logits differentiable with respect to the images.
        """
        weights = next(self.model.parameters())
        if images.device != weights.device:
            raise ValueError(
                f"teacher {self.name} is on {weights.device} and the images on {images.device}; "
                "move one: teacher.to(images.device)"
            )
        wide = torch.promote_types(images.dtype, weights.dtype)
        with torch.set_grad_enabled(with_gradient):
            # A student in half precision or float64 changes nothing about its teacher.
            images = self.images(images.to(wide)).to(weights.dtype)
            if self._dtype is None:
                return self._run(images, with_logits)
            with torch.autocast(images.device.type, enabled=False):
                maps, logits = self._run(images, with_logits)
            if self._dtype == torch.float16:  # see the class
                maps = [torch.nan_to_num(level) for level in maps]
                logits = logits if logits is None else torch.nan_to_num(logits)
            return maps, logits

    @cached_property
    def num_classes(self) -> int:
        """Number of classes, from the shape of the model's logits."""
        with torch.no_grad():
            _, logits = self._infer(self._blank(), with_logits=True)
        if not isinstance(logits, Tensor) or logits.dim() != 2:
            raise ValueError(
                f"teacher: {self.name} has no classifier; the loss on its logits needs one"
            )
        return logits.shape[-1]

    def train(self, mode: bool = True) -> FrozenTeacher:
        """Stays in eval mode, whatever `mode` says."""
        return super().train(False)

    def _apply(self, fn: Callable[[Tensor], Tensor], *args: Any, **kwargs: Any) -> FrozenTeacher:
        """A teacher with a `dtype` keeps it, whatever an owner's `.to(dtype)` says."""
        super()._apply(fn, *args, **kwargs)
        if self._dtype is not None:
            self.model.to(self._dtype)
        return self

    def __deepcopy__(self, memo: dict[int, Any]) -> FrozenTeacher:
        return self

    def _infer(self, images: Tensor, with_logits: bool) -> tuple[list[Tensor], Tensor | None]:
        if self._channels_last:
            images = images.to(memory_format=torch.channels_last)
        # A compiler leaves out by itself what comes after the last level.
        whole = with_logits or is_compiling()
        forward = self.model if with_logits else self._features
        try:
            maps, logits = self._levels.run(
                lambda: forward(images), tuple(images.shape), stop=not whole
            )
        except (AssertionError, RuntimeError) as error:
            self._explain(error, images)
            raise
        return [level.detach() for level in maps], logits if with_logits else None

    def _explain(self, error: Exception, images: Tensor) -> None:
        """Raise ValueError if an error of the model comes from the images' size."""
        given, built = tuple(images.shape[-2:]), self._input_size
        if is_compiling() or isinstance(error, torch.cuda.OutOfMemoryError) or given == built:
            return
        try:
            with torch.no_grad():
                own = images.new_zeros(1, images.shape[1], *built)
                self._levels.run(lambda: self.model(own), tuple(own.shape))
        except (AssertionError, RuntimeError):
            return  # an image of its own size fails as well, so the size is not the cause
        raise ValueError(
            f"teacher {self.name} does not accept images of {given[0]}×{given[1]} pixels, but "
            f"accepts {built[0]}×{built[1]}; set teacher.image_size=({built[0]}, {built[1]}) "
            f"to resize images for the teacher alone ({type(error).__name__}: {error})"
        ) from error

    def _tried(self, run: Callable[[], Any]) -> Any:
        height, width = self._input_size
        try:
            with torch.no_grad():
                return run()
        except (AssertionError, RuntimeError) as error:
            raise ValueError(
                f"teacher {self.name} does not accept an image of {height}×{width} pixels and "
                f"{self.images.channels} channels ({type(error).__name__}: {error}); if it was "
                "built for another size or number of channels, set teacher.image_size to a size "
                "that it accepts, build it for this size (a ViT of timm: teacher.img_size), or "
                "give teacher.input_size=(channels, height, width)"
            ) from error

    def _blank(self) -> Tensor:
        weights = next(self.model.parameters())
        return weights.new_zeros(1, self.images.channels, *self._input_size)
