"""Data sets, their transforms, and the files that they need on disk."""
