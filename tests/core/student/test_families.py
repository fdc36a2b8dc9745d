"""What the table of students does not say of timm's families: the paper's counts, and refusals."""

import pytest
import timm
import torch.nn.functional as F

from aal_plugin.core import AttentionRecorder


@pytest.mark.parametrize(
    ("name", "maps"),
    [
        ("deit_small_patch16_224", 72),
        ("deit_base_patch16_224", 144),
        ("pit_s_224", 90),
        ("swin_tiny_patch4_window7_224", 138),
    ],
)
def test_number_of_maps_is_that_of_the_papers_link_counts(name, maps):
    heads = AttentionRecorder(timm.create_model(name)).heads
    assert sum(heads) == maps


@pytest.mark.parametrize(
    "name", ["deit_tiny_patch16_224", "beit_base_patch16_224", "hiera_tiny_224", "levit_128s"]
)
def test_attention_that_is_computed_otherwise_is_not_taken_for_the_familys(name):
    model = timm.create_model(name)
    attn = next(m for n, m in model.named_modules() if n.endswith(".attn"))

    class Cosine(type(attn)):
        def forward(self, x, **kwargs):
            return super().forward(F.normalize(x, dim=-1), **kwargs)

    AttentionRecorder(model)
    attn.__class__ = Cosine
    with pytest.raises(ValueError, match="AAL does not know how to read its attention"):
        AttentionRecorder(model)
