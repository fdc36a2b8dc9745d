"""`AttentionRecorder`: records a student's attention during its forward pass.

Nothing in the student changes: hooks store what its blocks compute anyway, and the maps are
computed from it afterwards. The folder `families` knows where each architecture computes its
attention; for a ViT of your own, `attention_layers` names the modules, see `by_name.py`.
"""

from __future__ import annotations

from torch import nn

from .by_name import AttentionLayers, reader_by_name
from .families import find_reader
from .recorder import MapRecorder


class AttentionRecorder(MapRecorder):
    """Records a student's attention during its forward pass.

    Create it before `torch.compile`, which ignores hooks that are added later. Between `start` and
    `stop` it stores references to tensors that the forward pass computes anyway; at all other times
    it does nothing. A deep copy of the student together with its recorder (an EMA copy) has a
    recorder of its own.

    Args:
        student: a module of a known family, or a module that contains one.
        layers: names of the attention modules, for a student of no known family; see
            `reader_by_name`.

    Attributes:
        heads: attention maps of each block, which is its number of heads in nearly all families.
        image_size: (H, W) that the student was built for, or None if it accepts any.

    Raises:
        ValueError: no known family; image and patch sizes that do not fit.

    Example:
        >>> import timm, torch
        >>> student = timm.create_model("test_vit").eval()  # 10×10 patches
        >>> recorder = AttentionRecorder(student)
        >>> recorder.heads
        [2, 2, 2, 2, 2, 2]
        >>> recorder.start((160, 160))
        >>> logits = student(torch.rand(1, 3, 160, 160))
        >>> [tuple(maps.shape) for maps in recorder.stop()][:2]
        [(1, 2, 10, 10), (1, 2, 10, 10)]
    """

    def __init__(self, student: nn.Module, layers: AttentionLayers | None = None) -> None:
        reader = find_reader(student) if layers is None else reader_by_name(student, layers)
        super().__init__(student, reader)
        self.heads = [block.num_heads for block in reader.blocks]
