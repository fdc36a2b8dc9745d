import numpy as np
from PIL import Image

from aal_plugin.analysis import plot_link_strength, plot_link_strengths
from aal_plugin.analysis.heatmap import animate, pixels, strip

STRENGTH = np.array([[0.1, 0.1, np.nan], [np.nan, 0.1, 0.7]])


def labels(ticks):
    return [label.get_text() for label in ticks]


def test_heatmap_labels_blocks_and_levels_from_one_and_shows_the_values():
    axes, bar = plot_link_strength(STRENGTH, "$x_{$").axes
    assert axes.get_title() == r"\$x_{\$"  # no formula
    assert labels(axes.get_xticklabels()) == ["1", "2", "3"]
    assert labels(axes.get_yticklabels()) == ["1", "2"]
    assert axes.get_xlabel() == "student block" and axes.get_ylabel() == "teacher level"
    assert bar.get_ylabel() == "mean |link weight|"
    assert [text.get_text() for text in axes.texts] == [".10", ".10", ".10", ".70"]
    (image,) = axes.images
    assert image.origin == "lower" and axes.get_ylim()[0] < axes.get_ylim()[1]
    assert image.get_array().mask.tolist() == np.isnan(STRENGTH).tolist()


def test_several_runs_stand_side_by_side_each_with_its_scale_or_sharing_one():
    runs = dict(a=STRENGTH, b=10 * STRENGTH)
    own = plot_link_strengths(runs)
    assert [axes.get_title() for axes in own.axes] == ["a", "b", "", ""]
    assert [axes.images[0].norm.vmax for axes in own.axes[:2]] == [0.7, 7.0]
    shared = plot_link_strengths(runs, shared_scale=True)
    assert len(shared.axes) == 3
    assert [axes.images[0].norm.vmax for axes in shared.axes[:2]] == [7.0, 7.0]


def test_colours_start_at_zero_so_that_small_differences_look_small():
    axes, bar = plot_link_strength(np.array([[0.9, 1.0]]), label="as named").axes
    assert axes.images[0].get_clim() == (0.0, 1.0) and bar.get_ylabel() == "as named"
    assert plot_link_strength(np.zeros((1, 2))).axes[0].images[0].get_clim() == (0.0, 1.0)
    assert strip({0: STRENGTH, 1: STRENGTH * 2}).axes[0].images[0].get_clim() == (0.0, 1.4)


def test_heads_are_grouped_under_their_block():
    strength = np.arange(10.0).reshape(2, 5)
    axes = plot_link_strengths(dict(run=strength), heads=[1, 2, 2]).axes[0]
    assert axes.get_xticks().tolist() == [0.0, 1.5, 3.5]
    assert labels(axes.get_xticklabels()) == ["1", "2", "3"]
    assert [line.get_xdata()[0] for line in axes.lines] == [0.5, 2.5]


def test_frames_surround_the_chosen_blocks():
    outlines = dict(run=[(1, 2), (3, 3)])
    for heads, starts in ((None, [-0.44, 1.56]), ([1, 1, 1], [-0.44, 1.56])):
        axes = plot_link_strengths(dict(run=STRENGTH), heads, outlines).axes[0]
        assert [patch.get_x() for patch in axes.patches] == starts
        assert [round(patch.get_width(), 2) for patch in axes.patches] == [1.88, 0.88]


def test_strip_takes_first_last_and_even_steps_between():
    figure = strip({epoch: STRENGTH * (epoch + 1) for epoch in range(21)}, most=5)
    titles = [axes.get_title() for axes in figure.axes if axes.get_title()]
    assert titles == [f"epoch {epoch}" for epoch in (0, 5, 10, 15, 20)]
    few = strip({3: STRENGTH, 1: STRENGTH}, most=5)
    assert [axes.get_title() for axes in few.axes[:2]] == ["epoch 1", "epoch 3"]


def test_animation_has_a_frame_for_every_epoch(tmp_path):
    animate({epoch: STRENGTH * (epoch + 1) for epoch in range(4)}, tmp_path / "links.gif")
    with Image.open(tmp_path / "links.gif") as gif:
        assert gif.n_frames == 4
        gif.seek(3)
        assert gif.info["duration"] == 2000


def test_pixels_are_rgb_of_the_drawn_figure():
    image = pixels(plot_link_strength(STRENGTH), dpi=50)
    assert image.ndim == 3 and image.shape[2] == 3 and image.dtype == np.uint8
    yellow = (image[..., 0] > 200) & (image[..., 1] > 200) & (image[..., 2] < 80)
    assert yellow.any()  # the cell of 0.7
