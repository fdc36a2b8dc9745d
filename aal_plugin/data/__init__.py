"""The embedded shapes set. Needs NumPy (and Pillow to export), but neither torch nor MMEngine."""

from .shapes import MIN_SIZE, SPLITS, Shapes, check_whole, draw_shapes, load_shapes, split_seed
from .shapes_export import export_image_folder
from .silhouettes import CLASSES

__all__ = [
    "CLASSES",
    "MIN_SIZE",
    "SPLITS",
    "Shapes",
    "check_whole",
    "draw_shapes",
    "export_image_folder",
    "load_shapes",
    "split_seed",
]
