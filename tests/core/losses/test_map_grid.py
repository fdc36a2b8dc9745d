import pytest

from aal_plugin.core.losses.map_grid import as_grid


@pytest.mark.parametrize("size", [1, 0, -3, True, 2.5, (1, 1), (0, 4), (2, 3, 4), (2.0, 3)])
def test_map_sizes_that_are_no_grid_of_two_positions_are_refused(size):
    with pytest.raises(
        ValueError, match=r"link_head.map_size=.*; choose a positive side, .*two positions"
    ):
        as_grid(size, "link_head.map_size")


def test_map_sizes_become_grids():
    assert as_grid(None) is None and as_grid(7) == (7, 7)
    assert as_grid((1, 2)) == (1, 2) and as_grid([3, 4]) == (3, 4)
