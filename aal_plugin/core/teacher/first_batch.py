"""Whether a batch of images can have the normalisation that it is said to have.

# B batch, C channels, H W image size
"""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor

_NARROW = 8.0  # normalised values, and those of 0 to 1, lie within; 8-bit images do not
_OUTSIDE = 0.4  # noise of unit variance, as random erasing draws it, leaves 0 to 255 less often


def contradiction(images: Tensor, mean: Sequence[float], std: Sequence[float]) -> str:
    """Why images cannot be (pixels − mean) / std of pixels from 0 to 255, or ''.

    Found are values of 0 to 1 or normalised ones that are said to be plain pixels, the reverse, and
    images that are normalised twice. One colour alone proves nothing.

    Args:
        images: (B, C, H, W).
        mean, std: C numbers each, in pixel values.

    Example:
        >>> import torch
        >>> contradiction(torch.tensor([[[[0.0, 200.0]]]]), [0.0], [1.0])
        ''
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
