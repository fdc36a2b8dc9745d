"""Attention maps of images, and how well they localise objects."""
