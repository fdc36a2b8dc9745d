import numpy as np
import pytest
from mmpretrain.registry import TRANSFORMS

import aal_plugin.mm  # noqa: F401


@pytest.mark.parametrize("mode", ["reflect", "symmetric", "edge", "constant"])
def test_crop_is_a_window_of_the_image_padded_by_numpy(mode):
    """MMPretrain's own RandomCrop fails here for all but 'constant': it pads with zeros."""
    image = np.random.default_rng(0).integers(1, 256, (8, 8, 3), dtype=np.uint8)
    padded = np.pad(image, ((2, 2), (2, 2), (0, 0)), mode=mode)
    windows = {padded[y : y + 8, x : x + 8].tobytes(): (y, x) for y in range(5) for x in range(5)}
    crop = TRANSFORMS.build(dict(type="PaddedRandomCrop", crop_size=8, border=2, padding_mode=mode))
    np.random.seed(0)
    seen = []
    for _ in range(300):
        out = crop(dict(img=image.copy()))
        assert tuple(out["img_shape"][:2]) == (8, 8)
        seen.append(windows[out["img"].tobytes()])
    assert set(seen) == set(windows.values())  # each place comes, the corners too


def test_padding_that_does_not_exist_is_refused():
    with pytest.raises(AssertionError):
        TRANSFORMS.build(
            dict(type="PaddedRandomCrop", crop_size=8, border=2, padding_mode="mirror")
        )
