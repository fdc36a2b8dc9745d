"""Data sets, their transforms, and what they must have on disk."""
