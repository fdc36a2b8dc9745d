"""Launching, resuming and comparing runs."""
