import numpy as np
import pytest
import torch

from aal_plugin.analysis.attention import Shown, attention_rows, attention_sheet, strongest_pairs

IMAGE = np.zeros((16, 24, 3), np.uint8)


def shown(maps=((2, 2, 3),), augmented=None, activations=None, box=None):
    """Maps by their shapes, or as they are."""
    maps = [m if isinstance(m, torch.Tensor) else torch.rand(m) for m in maps]
    return Shown("val-0", "the title", "ring", IMAGE, box, maps, augmented, activations)


def visible(figure):
    return [axes for axes in figure.get_axes() if axes.get_visible()]


def test_pairs_are_the_channels_to_which_the_teacher_responds_most():
    augmented = [torch.rand(4, 2, 2), torch.rand(3, 2, 2)]
    activations = [torch.zeros(4, 4, 4), torch.zeros(3, 2, 2)]
    activations[0][2, :2] = 5.0  # channel 3 of level 1
    activations[0][1, :2] = 1.0
    activations[1][0, 0] = -2.0
    activations[1][2] = 9.0  # high everywhere: it tells nothing about the place
    pairs = strongest_pairs(shown(augmented=augmented, activations=activations), count=2)
    assert [(pair.level, pair.channel) for pair in pairs][:3] == [(1, 3), (1, 2), (2, 1)]
    assert pairs[0].activation.shape == (2, 2)  # on the student's grid
    np.testing.assert_array_equal(pairs[0].augmented, augmented[0][2].numpy())
    assert strongest_pairs(shown(), count=2) == []


@pytest.mark.parametrize(("factor", "cosine"), [(2.0, 1.0), (-1.0, -1.0)])
def test_cosine_tells_how_well_a_map_is_imitated(factor, cosine):
    wanted = torch.rand(1, 3, 3)
    (pair,) = strongest_pairs(shown(augmented=[factor * wanted], activations=[wanted]), 1)
    assert pair.cosine == pytest.approx(cosine, abs=1e-5)


def test_sheet_shows_input_heads_of_chosen_blocks_and_pairs():
    image = shown(
        [(2, 2, 3), (2, 2, 3), (4, 2, 3)],  # heads may grow, as in PiT
        [torch.rand(4, 2, 3)] * 2,
        [torch.rand(4, 4, 6)] * 2,
        box=(1, 2, 9, 12),
    )
    figure = attention_sheet(image, [1, 3], strongest_pairs(image, 3))
    labels = [axes.get_ylabel() for axes in visible(figure) if axes.get_ylabel()]
    assert sorted(labels) == ["block 1", "block 3", "level 1", "level 2"]
    # Input and overlay; 2 + 4 heads and a mean a block; 2 levels of 3 pairs.
    assert len(visible(figure)) == 2 + (2 + 1) + (4 + 1) + 2 * 3 * 2
    assert sum(len(axes.patches) for axes in visible(figure)) == 2
    assert figure.get_suptitle() == "the title"
    alone = attention_sheet(image, [1], title="")
    assert len(visible(alone)) == 2 + 3 and alone.get_suptitle() == ""


def test_pairs_share_a_scale_and_a_map_of_zeros_is_drawn():
    image = shown(augmented=[torch.zeros(1, 2, 3)], activations=[torch.rand(1, 2, 3)])
    figure = attention_sheet(image, [1], strongest_pairs(image, 1))
    left, right = (
        next(axes for axes in visible(figure) if axes.get_title().startswith(start)).images[0]
        for start in ("A⁺ of channel 1", "B, cos")
    )
    assert left.get_clim() == right.get_clim()
    assert not np.asarray(left.get_array()).any()


def test_colours_of_attention_start_at_zero():
    figure = attention_sheet(shown([torch.rand(2, 2, 3) + 5]), [1])
    images = [axes.images[-1] for axes in visible(figure)[1:]]
    assert {image.norm.vmin for image in images} == {0}


def test_students_stand_below_the_images_with_true_and_found_boxes_and_predictions():
    images, boxes = [IMAGE] * 3, [(1, 2, 9, 12), None, (0, 0, 4, 4)]
    found = [(np.random.rand(2, 3), box) for box in ((2, 2, 8, 8), None, None)]
    predictions = dict(plain=["ring 40%", "star 9%", "ring"], aal=["ring 90%", "cross 80%", "star"])
    figure = attention_rows(images, boxes, dict(plain=found, aal=found), predictions)
    labels = [axes.get_ylabel() for axes in figure.axes if axes.get_ylabel()]
    assert len(figure.axes) == 9 and labels == ["input", "plain", "aal"]
    titles = [axes.get_title() for axes in figure.axes]
    assert titles == ["", "", "", *predictions["plain"], *predictions["aal"]]
    assert [len(axes.patches) for axes in figure.axes] == [1, 0, 1, 2, 0, 1, 2, 0, 1]
    true, cut = figure.axes[3].patches
    assert true.get_bbox().bounds == (0.5, 1.5, 8, 10) and cut.get_bbox().bounds[:2] == (1.5, 1.5)
    assert true.get_linestyle() != cut.get_linestyle()
    (legend,) = figure.legends
    named = {frame.get_label(): frame.get_edgecolor() for frame in legend.get_patches()}
    colours = [true.get_edgecolor(), cut.get_edgecolor()]
    assert named == dict(zip(("true box", "box cut from the attention"), colours))
    assert not attention_rows([IMAGE], [None], dict(plain=found[1:2])).legends
