"""Attention maps on images, and how well they find objects."""
