"""The student's images as a teacher expects them.

# B batch, S channels of the student's images, C channels of the teacher's, H W image size
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from aal_plugin.core.settings import check_number, check_whole
from aal_plugin.older_releases import is_compiling

_NARROW = 8.0  # normalised values, and those of 0 to 1, lie within; 8-bit images do not
_OUTSIDE = 0.4  # noise of unit variance, as random erasing draws it, leaves 0 to 255 less often
_ADVICE = (
    "teacher.match_input(mean, std, rgb) says how your images are normalised, in pixel values "
    "(0–255); without it the teacher expects its own mean and std"
)


class TeacherImages(nn.Module):
    """Chooses a teacher's channels of the student's images, normalises and resizes them.

    One channel is repeated for a teacher of several. The first batch is compared with
    the normalisation that the images are said to have.

    Args:
        mean, std, rgb: see `FrozenTeacher`.
        image_size: (H, W) that the teacher receives, by bicubic interpolation with antialiasing;
            None: the size of the student's images.
        image_channels: which of the student's channels the teacher receives, in the teacher's
            order, counted from 1; (3, 2, 1) of blue, green, red and infrared are RGB.
        channels: C, how many the teacher has.
        name: the teacher's name in error messages.

    Raises:
        ValueError: a mean or std that is not C numbers in pixel values; channels that do not fit.

    Example:
        >>> images = TeacherImages((120, 110, 100), (60, 60, 60), image_size=(8, 8))
        >>> images.match((0, 0, 0), (1, 1, 1), rgb=True)  # the student sees plain pixel values
        >>> images(torch.full((1, 3, 4, 4), 180.0))[0, :, 0, 0].round(decimals=2)
        tensor([1.0000, 1.1700, 1.3300])
    """

    scale: Tensor | None
    shift: Tensor | None

    def __init__(
        self,
        mean: Sequence[float] | None = None,
        std: Sequence[float] | None = None,
        rgb: bool = True,
        image_size: tuple[int, int] | None = None,
        image_channels: Sequence[int] | None = None,
        channels: int = 3,
        name: str = "",
    ) -> None:
        super().__init__()
        if (mean is None) != (std is None):
            raise ValueError(f"teacher.mean={mean!r} and teacher.std={std!r}; give both or none")
        self._whose, self.channels = f"teacher {name}".strip(), channels
        self.mean = None if mean is None else pixel_values("teacher.mean", mean, channels)
        self.std = None if std is None else pixel_values("teacher.std", std, channels)
        if self.std is not None and min(self.std) <= 0:
            raise ValueError(f"teacher.std={std!r}; choose numbers above 0")
        if self.mean is not None and 0 < max(self.mean) <= 1:
            raise ValueError(
                f"teacher.mean={mean!r} is in units of 0 to 1; give pixel values (0–255): "
                "multiply mean and std by 255"
            )
        self.rgb = rgb
        self.image_size = image_size
        self._picked = None if image_channels is None else self._indices(image_channels)
        self._flip = False
        self.register_buffer("scale", None)
        self.register_buffer("shift", None)
        self._said: tuple[Any, Any, str] = (self.mean, self.std, _ADVICE)
        self.unchecked = self.std is not None and max(self.std) != 1  # the first batch

    def match(
        self,
        mean: Sequence[float] | None,
        std: Sequence[float] | None,
        rgb: bool,
        device: torch.device | None = None,
        advice: str = _ADVICE,
    ) -> None:
        """Set how the images that follow are normalised, see `FrozenTeacher.match_input`.

        Args:
            device: of the images.
            advice: what to do about a first batch that contradicts this, for the error.
        """
        self._flip = self.channels == 3 and rgb != self.rgb
        if self.mean is None or self.std is None:
            return
        own_mean, own_std = _channelwise(self.mean), _channelwise(self.std)
        given_mean = self._of_teacher(_channelwise((0.0,) if mean is None else mean))
        given_std = self._of_teacher(_channelwise((1.0,) if std is None else std))
        scale, shift = given_std / own_std, (given_mean - own_mean) / own_std
        same = torch.allclose(scale, torch.ones(1)) and torch.allclose(shift, torch.zeros(1))
        self.scale = None if same else scale.to(device)
        self.shift = None if same else shift.to(device)
        self._said = (given_mean.flatten().tolist(), given_std.flatten().tolist(), advice)
        # Two networks without any normalisation may share any unit.
        self.unchecked = not (same and max(self.std) == 1)

    def forward(self, images: Tensor) -> Tensor:
        """Images (B, S, H, W) as the student sees them → (B, C, h, w) as the teacher expects."""
        self.check(images)
        images = self._of_teacher(images)
        if self.scale is not None and self.shift is not None:
            images = images * self.scale + self.shift
        if self.image_size is not None and tuple(images.shape[-2:]) != self.image_size:
            # float32: bicubic weights of 8 bits would show.
            wide = images.to(torch.promote_types(images.dtype, torch.float32))
            resized = F.interpolate(wide, self.image_size, mode="bicubic", antialias=True)
            images = resized.to(images.dtype)
        return images

    def check(self, images: Tensor) -> None:
        """Hold the first batch (B, S, H, W) against what `match` said of it; once."""
        if not self.unchecked or is_compiling() or images.is_meta:
            return
        self.unchecked = False
        mean, std, advice = self._said
        words = contradiction(self._of_teacher(images.detach()), mean, std)
        if words:
            raise ValueError(f"{self._whose} would see wrong pixels: {words}; {advice}")

    def key(self) -> list[Any]:
        """What the teacher's pixels depend on, beside the student's."""
        given = [self._said[:2], self.mean, self.std, self.image_size, self._picked, self._flip]
        return [*given, self.channels]

    def _of_teacher(self, values: Tensor) -> Tensor:
        """Of (B, S, …) the channels that the teacher receives, (B, C, …)."""
        given = values.shape[1]
        if given == 1:
            return values.expand(-1, self.channels, -1, -1)
        if self._picked is not None:
            if max(self._picked) >= given:
                raise ValueError(
                    f"teacher.image_channels={[1 + c for c in self._picked]!r}, but the student's "
                    f"images have {given} channels; choose from 1 to {given}"
                )
            return values[:, self._picked]
        if given != self.channels:
            raise ValueError(
                f"{self._whose} takes images of {self.channels} channels, and the student's have "
                f"{given}; set teacher.image_channels to {self.channels} of 1 to {given}, in the "
                "teacher's order, such as (3, 2, 1)"
            )
        return values.flip(1) if self._flip else values

    def _indices(self, numbers: Sequence[int]) -> list[int]:
        if not isinstance(numbers, Sequence) or len(numbers) != self.channels:
            raise ValueError(
                f"teacher.image_channels={numbers!r}; choose {self.channels} channels of the "
                "student's images, counted from 1"
            )
        for number in numbers:
            check_whole("teacher.image_channels", number, 1)
        return [number - 1 for number in numbers]


def pixel_values(
    key: str, values: Any, channels: int | None = None, low: float = -math.inf
) -> tuple[float, ...]:
    """Numbers in pixel values, from `low`: one for all channels or one for each of them.

    Raises:
        ValueError: anything else; names the config key.
    """
    count = "" if channels is None else f"{channels} "
    allowed = f"{count}numbers in pixel values (0–255), one for each channel"
    several = isinstance(values, Sequence) and not isinstance(values, str)
    if not several or len(values) not in (1, channels or len(values)):
        raise ValueError(f"{key}={values!r}; choose {allowed}")
    for value in values:
        check_number(key, value, allowed, low)
    return tuple(float(value) for value in values) * ((channels or len(values)) // len(values))


def checked_size(key: str, size: int | Sequence[int] | None) -> tuple[int, int] | None:
    """A size (H, W) that the config key gives as one number or two, of pixels.

    Raises:
        ValueError: anything else than one or two whole numbers, 1 or more.

    Example:
        >>> checked_size("teacher.image_size", 224), checked_size("teacher.image_size", [224, 320])
        ((224, 224), (224, 320))
    """
    if size is None:
        return None
    sides = tuple(size) if isinstance(size, Sequence) and not isinstance(size, str) else (size,)
    if len(sides) > 2 or not sides:
        raise ValueError(f"{key}={size!r}; choose one whole number of pixels, or (height, width)")
    for side in sides:
        check_whole(key, side, 1)
    return int(sides[0]), int(sides[-1])


def _channelwise(values: Sequence[float]) -> Tensor:
    return torch.tensor([float(value) for value in values]).view(1, -1, 1, 1)


def contradiction(images: Tensor, mean: Sequence[float], std: Sequence[float]) -> str:
    """Why images cannot be (pixels − mean) / std of pixels from 0 to 255, or ''.

    Found are values of 0 to 1 or normalised ones that are said to be plain pixels, the reverse, and
    images that are normalised twice. One colour alone proves nothing.

    Example:
        >>> contradiction(torch.tensor([[[[-2.1, 1.3]]]]), [0.0], [1.0])
        'the first batch has values from -2.1 to 1.3, and with mean=[0.0] and std=[1.0] these \
would be pixels of -2.1 to 1.3, not of 0 to 255'
    """
    wide = images.double() if images.device.type == "cpu" else images.float()
    means, stds = (wide.new_tensor(values).view(1, -1, 1, 1) for values in (mean, std))
    pixels = wide * stds + means
    low, high = float(wide.min()), float(wide.max())
    darkest, brightest = float(pixels.min()), float(pixels.max())
    outside = ((pixels < -1) | (pixels > 256)).float().mean() > _OUTSIDE
    varied = low < high
    narrow = varied and darkest >= -_NARROW and brightest <= _NARROW
    # Of 0 to 1, as ToTensor leaves them: no pixel is darker than the mean.
    unit = varied and low >= 0 and high <= 1 and min(std) < 128
    if not (outside or narrow or unit):
        return ""
    words = "none darker than the mean; are they of 0 to 1?" if unit else "not of 0 to 255"
    rounded = [[round(value, 3) for value in values] for values in (mean, std)]
    return (
        f"the first batch has values from {low:.4g} to {high:.4g}, and with mean={rounded[0]} and "
        f"std={rounded[1]} these would be pixels of {darkest:.4g} to {brightest:.4g}, {words}"
    )
