"""Checkpoints: written whole, read as data alone, exported."""
