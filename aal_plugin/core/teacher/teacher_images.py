"""The student's images as a teacher expects them.

# B batch, H W image size
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from aal_plugin.core.settings import check_number, check_whole


class TeacherImages(nn.Module):
    """Resizes images, reverses their channels and normalises them for a teacher.

    Args:
        mean, std: normalisation that the teacher was trained with, in pixel values (0–255), one
            number per channel in the order of `rgb`. None: images pass as they are.
        rgb: whether the teacher was trained on RGB images (else BGR).
        image_size: (H, W) that the teacher receives, by bicubic interpolation with antialiasing;
            None: the size of the student's images.

    Raises:
        ValueError: a mean or std that is not three numbers in pixel values.

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
    ) -> None:
        super().__init__()
        if (mean is None) != (std is None):
            raise ValueError(f"teacher.mean={mean!r} and teacher.std={std!r}; give both or none")
        self.mean = None if mean is None else _three("teacher.mean", mean)
        self.std = None if std is None else _three("teacher.std", std)
        if self.std is not None and min(self.std) <= 0:
            raise ValueError(f"teacher.std={std!r}; choose numbers above 0")
        if self.mean is not None and 0 < max(self.mean) <= 1:
            raise ValueError(
                f"teacher.mean={mean!r} is in units of 0 to 1; give pixel values (0–255): "
                "multiply mean and std by 255"
            )
        self.rgb = rgb
        self.image_size = image_size
        self._flip = False
        self.register_buffer("scale", None)
        self.register_buffer("shift", None)

    def match(
        self,
        mean: Sequence[float] | None,
        std: Sequence[float] | None,
        rgb: bool,
        device: torch.device | None = None,
    ) -> None:
        """Set how the images that follow are normalised.

        Args:
            mean, std: in pixel values, in the order of `rgb`; None: not normalised.
            rgb: whether they are RGB.
            device: of the images.
        """
        self._flip = rgb != self.rgb
        if self.mean is None or self.std is None:
            return
        own_mean, own_std = _channelwise(self.mean), _channelwise(self.std)
        given_mean = _channelwise(mean if mean is not None else (0.0, 0.0, 0.0))
        given_std = _channelwise(std if std is not None else (1.0, 1.0, 1.0))
        if self._flip:
            given_mean, given_std = given_mean.flip(1), given_std.flip(1)
        scale, shift = given_std / own_std, (given_mean - own_mean) / own_std
        same = torch.allclose(scale, torch.ones(1)) and torch.allclose(shift, torch.zeros(1))
        self.scale = None if same else scale.to(device)
        self.shift = None if same else shift.to(device)

    def forward(self, images: Tensor) -> Tensor:
        """Images (B, 3, H, W) as the student sees them → as the teacher expects them."""
        if self._flip:
            images = images.flip(1)
        if self.scale is not None and self.shift is not None:
            images = images * self.scale + self.shift
        if self.image_size is not None and tuple(images.shape[-2:]) != self.image_size:
            # float32: bicubic weights of 8 bits would show.
            wide = images.to(torch.promote_types(images.dtype, torch.float32))
            resized = F.interpolate(wide, self.image_size, mode="bicubic", antialias=True)
            images = resized.to(images.dtype)
        return images


def checked_size(key: str, size: int | Sequence[int] | None) -> tuple[int, int] | None:
    """A size (H, W) that a user gave as one number or two.

    Args:
        key: its config key, for error messages.
        size: pixels.

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


def _three(key: str, values: Sequence[float]) -> tuple[float, ...]:
    if isinstance(values, str) or not isinstance(values, Sequence) or len(values) != 3:
        raise ValueError(f"{key}={values!r}; choose three numbers in pixel values (0–255)")
    for value in values:
        check_number(key, value, "three numbers in pixel values (0–255)")
    return tuple(float(value) for value in values)


def _channelwise(values: Sequence[float]) -> Tensor:
    return torch.tensor([float(value) for value in values]).view(1, -1, 1, 1)
