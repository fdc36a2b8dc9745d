"""Hooks, one per file."""
