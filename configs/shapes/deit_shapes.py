# tools/train.py configs/shapes/deit_shapes.py
# quickstart_plain.py, as the first row of the AAL paper's Table 6; the other rows inherit from it.
_base_ = "./quickstart_plain.py"
work_dir = "work_dirs/deit_shapes"
