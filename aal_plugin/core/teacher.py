"""A frozen CNN that yields stage maps and, when asked, logits.

# B batch, C channels of a level, L levels, h w that level's grid, K classes
"""

from __future__ import annotations

from functools import cached_property, partial
from typing import Any, Callable, Dict, List, Optional, Sequence, Tuple

import torch
from torch import Tensor, nn

from .fold import fold_batch_norms
from .stages import default_taps, named_modules_of


class FrozenTeacher(nn.Module):
    """A CNN without gradients, always in eval mode, whose stage outputs are tapped.

    `model.train()` of an owner does not reach its batch norms, dropout or drop-path, and a deep
    copy of an owner shares it: what cannot change need not be copied.

    Args:
        model: the network.
        taps: dotted names of the modules whose outputs are the levels, in order; found from the
            model by default, see `default_taps`.
        features: runs the model up to its last tap, without the classifier, when no logits are
            wanted; by default the whole model runs.
        mean, std: normalisation that the model was trained with, in pixel values (0–255), one
            for each of R, G, B in the order of `rgb`. None: it takes what it is given.
        rgb: whether the model was trained on RGB images (else BGR).
        channels_last: infer on images and weights in that memory format.
        fold_norms: fold batch norms into convolutions; maps are the same to rounding.
        dtype: 'bfloat16' or 'float16': infer in it. None: in float32, or as autocast says.
        compile: `torch.compile` the inference.

    Attributes:
        channels: channels of each level.

    Raises:
        ValueError: a tap that the model lacks, or whose output is no (B, C, h, w) map; a dtype
            other than those.
    """

    def __init__(
        self,
        model: nn.Module,
        taps: Optional[Sequence[str]] = None,
        features: Optional[Callable[[Tensor], Any]] = None,
        mean: Optional[Sequence[float]] = None,
        std: Optional[Sequence[float]] = None,
        rgb: bool = True,
        channels_last: bool = True,
        fold_norms: bool = True,
        dtype: Optional[str] = None,
        compile: bool = False,
    ) -> None:
        super().__init__()
        if dtype not in (None, "bfloat16", "float16"):
            raise ValueError(f"teacher.dtype={dtype!r}; choose 'bfloat16', 'float16' or None")
        self.model = model.requires_grad_(False)
        self.taps = list(taps) if taps is not None else default_taps(model)
        self._features = features or model
        self._mean, self._std, self._rgb = mean, std, rgb
        self._flip = False
        self.register_buffer("input_scale", None)
        self.register_buffer("input_shift", None)
        self._kept: List[Tuple[int, Tensor]] = []
        self._order: List[int] = []  # of the levels in a forward pass, once it was seen
        self._stops = False
        for level, module in enumerate(named_modules_of(model, self.taps, "teacher.taps")):
            module.register_forward_hook(partial(self._keep, level))
        self.train(False)
        self._dtype: Optional[torch.dtype] = None
        self._memory_format = torch.preserve_format
        self._run = self._infer
        # The first pass runs the whole model: what reads a convolution must all be seen.
        levels = self._probe(with_logits=True)
        if fold_norms:
            fold_batch_norms(model, partial(self._probe, with_logits=True))
        self.channels = [level.shape[1] for level in levels]
        if dtype is not None:
            self._dtype = getattr(torch, dtype)
            model.to(self._dtype)
        if channels_last:
            self._memory_format = torch.channels_last
            model.to(memory_format=torch.channels_last)
        if compile:
            self._run = torch.compile(self._infer)

    def match_input(
        self, mean: Optional[Sequence[float]], std: Optional[Sequence[float]], rgb: bool
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
    ) -> Tuple[List[Tensor], Optional[Tensor]]:
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
                return self._run(images.to(self._dtype), with_logits)

    @cached_property
    def num_classes(self) -> int:
        """Classes of the logits, as the model itself tells them."""
        _, logits = self(self._blank(), with_logits=True)
        if not isinstance(logits, Tensor) or logits.dim() != 2:
            raise ValueError(
                f"teacher: {type(self.model).__name__} has no classifier, and a loss of its "
                "logits needs one"
            )
        return logits.shape[-1]

    def _infer(self, images: Tensor, with_logits: bool) -> Tuple[List[Tensor], Optional[Tensor]]:
        images = images.to(memory_format=self._memory_format)
        # A compiler leaves out by itself what comes after the last level.
        whole = with_logits or torch.compiler.is_compiling()
        self._stops = not whole and len(self._order) == len(self.taps)
        logits = None
        try:
            logits = self.model(images) if with_logits else self._features(images)
        except _LastLevel:
            pass
        self._stops = False
        kept, self._kept = self._kept, []
        self._order = self._order or [level for level, _ in kept]
        levels = dict(kept)
        if len(levels) < len(self.taps):
            missed = [name for level, name in enumerate(self.taps) if level not in levels]
            raise ValueError(f"teacher.taps: {missed} took no part in {type(self.model).__name__}")
        maps = [levels[level].detach() for level in range(len(self.taps))]
        return maps, logits if with_logits else None

    def train(self, mode: bool = True) -> FrozenTeacher:
        """Stays in eval mode, whatever `mode` says."""
        return super().train(False)

    def __deepcopy__(self, memo: Dict[int, Any]) -> FrozenTeacher:
        return self

    def _keep(self, level: int, module: nn.Module, inputs: Any, output: Any) -> None:
        # MMPretrain's backbones answer with a tuple of stages; a tap on one means its last.
        self._kept.append((level, output[-1] if isinstance(output, (tuple, list)) else output))
        if self._stops and level == self._order[-1]:
            raise _LastLevel

    def _probe(self, with_logits: bool = False) -> List[Tensor]:
        maps, _ = self(self._blank(), with_logits)
        for name, level in zip(self.taps, maps):
            if level.dim() != 4:
                raise ValueError(
                    f"teacher.taps: {name!r} puts out {tuple(level.shape)}, not (B, C, h, w) maps"
                )
        return maps

    def _blank(self) -> Tensor:
        return next(self.model.parameters()).new_zeros(1, 3, 224, 224)


class _LastLevel(Exception):
    """Ends a forward pass whose remainder nobody needs."""


def _channelwise(values: Sequence[float]) -> Tensor:
    return torch.tensor([float(value) for value in values]).view(1, -1, 1, 1)
