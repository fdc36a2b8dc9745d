"""Backbones of the papers that MMPretrain lacks."""
