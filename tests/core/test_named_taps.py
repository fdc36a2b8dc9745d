import copy

import pytest
import torch
from torch import nn

from aal_plugin.core import AttentionTaps

from .slow import class_row, full_attention, received


class LabAttention(nn.Module):
    """A lab's own: a `qkv` projection, and the softmax weights through `attn_drop`."""

    def __init__(self, width, num_heads, projects=True):
        super().__init__()
        self.num_heads = num_heads
        if projects:
            self.qkv = nn.Linear(width, 3 * width)
        else:
            self.to_qkv = nn.Linear(width, 3 * width)
        self.attn_drop = nn.Dropout(0.0)

    def forward(self, tokens):
        project = self.qkv if hasattr(self, "qkv") else self.to_qkv
        query, key, value = project(tokens).unflatten(-1, (3, self.num_heads, -1)).unbind(2)
        scores = torch.einsum("bqmd,bkmd->bmqk", query, key) * query.shape[-1] ** -0.5
        weights = self.attn_drop(scores.softmax(-1))
        return torch.einsum("bmqk,bkmd->bqmd", weights, value).flatten(2)


class LabViT(nn.Module):
    def __init__(self, projects=True):
        super().__init__()
        self.patches = nn.Conv2d(3, 8, kernel_size=4, stride=4)
        self.token = nn.Parameter(torch.randn(1, 1, 8))
        self.body = nn.ModuleList(LabAttention(8, 2, projects) for _ in range(3))

    def forward(self, images):
        tokens = self.patches(images).flatten(2).mT
        tokens = torch.cat((self.token.expand(len(tokens), -1, -1), tokens), dim=1)
        for attention in self.body:
            tokens = tokens + attention(tokens)
        return tokens[:, 0]


def maps_of(model, images, names):
    taps = AttentionTaps(model, names)
    taps.start(images.shape[-2:])
    model(images)
    return taps.stop()


@pytest.mark.parametrize("projects", [True, False])
@pytest.mark.parametrize(
    "names",
    [
        "body.*",
        ["body.0", "body.1", "body.2"],
        dict(attention="body.*", patch_embed="patches", num_prefix_tokens=1),
        dict(attention="body.*", class_token=False),
    ],
)
def test_maps_of_a_labs_own_vit_equal_its_full_attention(projects, names):
    torch.manual_seed(0)
    model = LabViT(projects).double().eval()
    inputs = []
    for attention in model.body:
        attention.register_forward_pre_hook(lambda m, args: inputs.append(args[0]))
    with torch.no_grad():
        maps = maps_of(model, torch.randn(2, 3, 8, 12, dtype=torch.float64), names)
    assert len(maps) == 3
    read = received if isinstance(names, dict) and not names.get("class_token", True) else class_row
    for attention, tokens, got in zip(model.body, inputs, maps):
        project = attention.qkv if projects else attention.to_qkv
        query, key, _ = project(tokens).detach().unflatten(-1, (3, 2, -1)).unbind(2)
        for image in range(2):
            weights = full_attention(query[image], key[image], 4**-0.5)
            torch.testing.assert_close(got[image], read(weights, 1, (2, 3)))


def test_a_deep_copy_reads_its_own_modules():
    model = LabViT()
    model.taps = AttentionTaps(model, "body.*")
    twin = copy.deepcopy(model)
    twin.taps.start((8, 8))
    twin(torch.randn(1, 3, 8, 8))
    gradient = torch.autograd.grad(twin.taps.stop()[0].square().sum(), twin.patches.weight)
    assert gradient[0].abs().sum() > 0


@pytest.mark.parametrize(
    ("names", "message"),
    [
        ("bodies.*", r"the student has no module 'bodies\.\*'; near names: body"),
        ("patches", r"'patches' \(Conv2d\) shows no attention; it needs num_heads"),
        (dict(attention="body.*", heads=2), r"give attention=\[\.\.\.\], and if wanted"),
        (dict(patch_embed="patches"), r"give attention=\[\.\.\.\]"),
        (dict(attention="body.*", patch_embed="stem"), "no module 'stem'"),
        (
            dict(attention="body.*", class_token=True, num_prefix_tokens=0),
            "class_token=True needs num_prefix_tokens=1",
        ),
    ],
)
def test_names_that_do_not_fit_are_errors(names, message):
    with pytest.raises(ValueError, match=message):
        AttentionTaps(LabViT(), names)
