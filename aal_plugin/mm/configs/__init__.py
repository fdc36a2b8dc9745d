"""Reads configs, checks them, and reads the types in them."""
