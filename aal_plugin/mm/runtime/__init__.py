"""Starts, resumes, compares and describes runs."""
