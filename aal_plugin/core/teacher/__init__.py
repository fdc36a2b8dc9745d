"""The frozen teacher: its levels, its images and its weights."""
