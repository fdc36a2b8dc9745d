"""Adaptive Attention Link-based regularisation (AAL) for Vision Transformers.

`aal_plugin.core` holds the method in plain torch. `aal_plugin.mm` registers the parts that
MMPretrain configs name, `aal_plugin.timm` holds the task for timm's train script.
"""

__version__ = "0.1.0"
