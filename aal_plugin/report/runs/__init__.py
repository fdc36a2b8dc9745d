"""What the files of a run say, in one form for MMPretrain and timm."""
