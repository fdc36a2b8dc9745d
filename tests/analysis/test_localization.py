import numpy as np
import pytest
import torch

from aal_plugin.analysis.localization import (
    best_iou,
    find_threshold,
    localization_accuracy,
    pick_map,
    threshold_boxes,
)


def test_box_surrounds_the_largest_part_at_each_threshold_corners_included():
    attention = torch.zeros(6, 8)
    attention[1:3, 1:3] = 1.0  # 4 pixels, and the peak
    attention[3:5, 5:8] = attention[2, 4] = 0.5  # 7 pixels, of which one touches by its corner
    boxes = threshold_boxes(attention, (6, 8), [0.0, 0.3, 0.5, 0.6, 1.0])
    whole, large, peak = [0, 0, 8, 6], [4, 2, 8, 5], [1, 1, 3, 3]
    assert boxes.tolist() == [whole, large, large, peak, peak]


def test_maps_are_normalised_and_brought_to_the_image():
    attention = torch.full((3, 3), 7.0)
    attention[1, 2] = 9.0
    ((x1, y1, x2, y2),) = threshold_boxes(attention, (30, 60), [0.5])
    # Bilinear: half of the peak is reached half a cell away from its centre.
    assert (x1, y1, x2, y2) == (40, 10, 60, 20)


def test_flat_map_has_the_whole_image_or_nothing():
    boxes = threshold_boxes(torch.ones(2, 2), (4, 6), [0.0, 0.1])
    assert boxes.tolist() == [[0, 0, 6, 4], [0, 0, 0, 0]]


def test_iou_by_hand():
    boxes = np.array([[0, 0, 4, 4], [2, 2, 6, 6], [8, 8, 9, 9], [0, 0, 0, 0]], float)
    truth = np.array([[0, 0, 4, 4]], float)
    np.testing.assert_allclose(best_iou(boxes, truth), [1, 4 / 28, 0, 0])
    two = np.array([[0, 0, 4, 4], [2, 2, 6, 6]], float)
    np.testing.assert_allclose(best_iou(boxes, two), [1, 1, 0, 0])


def test_figures_by_hand():
    # Three images at two thresholds; the best threshold depends on the IoU asked for.
    ious = np.array([[0.8, 0.55], [0.2, 0.6], [0.1, 0.35]])
    correct = np.array([True, False, True])
    results = localization_accuracy(ious, correct, [0.2, 0.4])
    third = 100 / 3
    assert results == pytest.approx(
        dict(
            maxboxacc_30=100,
            maxboxacc_50=2 * third,
            maxboxacc_70=third,
            maxboxacc=(100 + 2 * third + third) / 3,
            gt_known=2 * third,
            top1=third,  # the first image alone has both right at threshold 0.4
            threshold=0.4,
        )
    )


def test_an_iou_of_just_the_level_counts():
    results = localization_accuracy(np.array([[0.5]]), np.array([True]), [0.1], [0.5])
    assert results["maxboxacc_50"] == results["gt_known"] == results["top1"] == 100


def test_map_is_the_last_blocks_mean_or_the_chosen_head():
    maps = [torch.rand(2, 3, 3), torch.rand(4, 2, 2)]
    torch.testing.assert_close(pick_map(maps), maps[1].mean(0))
    torch.testing.assert_close(pick_map(maps, block=1), maps[0].mean(0))
    torch.testing.assert_close(pick_map(maps, block=1, head=2), maps[0][1])


@pytest.mark.parametrize(
    ("choice", "words"),
    [
        (dict(block=3), "LocalizationAccuracy.block=3; choose 1 to 2"),
        (dict(block=0), "LocalizationAccuracy.block=0; choose 1 to 2"),
        (dict(block=1, head=3), "LocalizationAccuracy.head=3; choose 1 to 2"),
    ],
)
def test_choice_that_the_student_lacks_is_named(choice, words):
    with pytest.raises(ValueError, match=words):
        pick_map([torch.rand(2, 3, 3), torch.rand(4, 2, 2)], **choice)


def test_the_found_threshold_cuts_the_boxes_that_are_right():
    """A bright core of 4×4 in a halo of 8×8: what the true box is decides where to cut."""
    attention = torch.zeros(16, 16)
    attention[4:12, 4:12], attention[6:10, 6:10] = 0.6, 1.0
    for box, low, high in (([6, 6, 10, 10], 0.6, 1.0), ([4, 4, 12, 12], 0.0, 0.6)):
        threshold = find_threshold([(attention, (16, 16), np.array([box], float))] * 2)
        assert low < threshold <= high
