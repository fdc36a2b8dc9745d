"""Configs: read, checked, and their types."""
