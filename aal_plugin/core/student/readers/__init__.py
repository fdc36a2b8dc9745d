"""Readers: what to record of a student's blocks, and how to compute attention maps from it."""

from .from_queries import input_reader, normed_reader, projections_reader, qkv_reader
from .from_weights import matrix_reader, window_reader
from .reader import BlockReader, Read, StudentReader

__all__ = [
    "BlockReader",
    "Read",
    "StudentReader",
    "input_reader",
    "matrix_reader",
    "normed_reader",
    "projections_reader",
    "qkv_reader",
    "window_reader",
]
