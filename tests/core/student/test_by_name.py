import copy

import pytest
import timm
import torch
import torch.nn.functional as F
from torch import nn

from aal_plugin.core import AttentionRecorder

from .attention_loops import InterceptedWeights, class_row, received


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


def check_maps(model, layers, read=class_row, prefix=1, size=(8, 12)):
    """The maps of named layers are those of the attention matrices that the blocks compute."""
    model = model.double().eval()
    recorder = AttentionRecorder(model, layers)
    recorder.start(size)
    with torch.no_grad():
        with InterceptedWeights() as seen:
            model(torch.randn(2, 3, *size, dtype=torch.float64))
        maps = recorder.stop()
    assert recorder.heads == [len(weights[0]) for weights in seen.weights]
    for weights, got in zip(seen.weights, maps, strict=True):
        for image in range(2):
            torch.testing.assert_close(got[image], read(weights[image], prefix, got.shape[2:]))


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
def test_maps_of_a_labs_own_vit_are_its_full_attention(projects, names):
    torch.manual_seed(0)
    without = isinstance(names, dict) and not names.get("class_token", True)
    check_maps(LabViT(projects), names, received if without else class_row)


def test_a_deep_copy_reads_its_own_modules():
    model = LabViT()
    model.recorder = AttentionRecorder(model, "body.*")
    twin = copy.deepcopy(model)
    twin.recorder.start((8, 8))
    twin(torch.randn(1, 3, 8, 8))
    gradient = torch.autograd.grad(twin.recorder.stop()[0].square().sum(), twin.patches.weight)
    assert gradient[0].abs().sum() > 0


@pytest.mark.parametrize(
    ("names", "message"),
    [
        ("bodies.*", r"the student has no module 'bodies\.\*'; near names: body"),
        ("patches", r"no attention in 'patches' \(Conv2d\); it needs its number of heads"),
        (
            dict(attention="body.*", heads=2),
            "has the key 'heads'; choose among attention, patch_embed, num",
        ),
        (dict(patch_embed="patches"), r"set attention=\[\.\.\.\]"),
        (dict(attention="body.*", patch_embed="stem"), "no module 'stem'"),
        (
            dict(attention="body.*", class_token=True, num_prefix_tokens=0),
            "class_token=True needs num_prefix_tokens=1",
        ),
    ],
)
def test_names_that_do_not_fit_are_errors(names, message):
    with pytest.raises(ValueError, match=message):
        AttentionRecorder(LabViT(), names)


TIMM = dict(img_size=32, embed_dim=16, depth=2, num_heads=2, num_classes=5)


def timm_model(name, **kwargs):
    torch.manual_seed(0)
    return timm.create_model(name, **{**TIMM, **kwargs}).eval()


@pytest.mark.parametrize(
    ("name", "kwargs", "names", "words"),
    [
        (
            "vit_relpos_small_patch16_224",
            {},
            dict(attention="blocks.*.attn", num_prefix_tokens=0),
            r"\(RelPosAttention\) computes .*does with self.rel_pos.*TIMM_FUSED_ATTN=0",
        ),
        (
            "vit_small_patch16_dinov3",
            {},
            dict(attention="blocks.*.attn", num_prefix_tokens=5),
            r"\(EvaAttention\) computes .*does not know .*rope \(an input\)",
        ),
        (
            "cait_xxs24_224",
            dict(depth_token_only=1),
            dict(attention="blocks.*.attn", num_prefix_tokens=0),
            r"\(TalkingHeadAttn\) does not weigh its values with a softmax: .*proj_l, self.proj_w",
        ),
        (
            "xcit_nano_12_p16_224",
            {},
            dict(attention="blocks.*.attn", num_prefix_tokens=0),
            r"\(XCA\) weighs 8 values at a time, not all 256 tokens",
        ),
        (
            "samvit_base_patch16_224",
            dict(window_size=2, global_attn_indexes=(), img_size=64),
            dict(attention="blocks.*.attn", num_prefix_tokens=0),
            r"\(Attention\) weighs 4 values at a time, not all 16 tokens",
        ),
        (
            "vit_tiny_patch16_224",
            dict(img_size=64),
            dict(attention="blocks.*.attn", num_prefix_tokens=2),
            r"weighs 17 values at a time, not all 18 tokens \(num_prefix_tokens=2",
        ),
    ],
)
def test_attention_that_is_computed_otherwise_is_refused_by_what_is_not_understood(
    name, kwargs, names, words
):
    with pytest.raises(ValueError, match=words):
        AttentionRecorder(timm_model(name, **kwargs), names)


@pytest.mark.parametrize(
    ("name", "prefix"), [("vit_relpos_small_patch16_224", 0), ("vit_small_patch16_dinov3", 5)]
)
def test_without_fused_attention_the_softmax_weights_are_read(name, prefix):
    model = timm_model(name)
    for module in model.modules():
        if hasattr(module, "fused_attn"):
            module.fused_attn = False
    layers = dict(attention="blocks.*.attn", num_prefix_tokens=prefix)
    check_maps(model, layers, class_row if prefix else received, prefix, (32, 32))


def test_logits_that_a_learnt_factor_scales_are_refused_though_it_starts_at_one():
    class Tempered(LabAttention):
        def __init__(self, width, num_heads):
            super().__init__(width, num_heads)
            self.temperature = nn.Parameter(torch.ones(num_heads, 1, 1))

        def forward(self, tokens):
            query, key, value = self.qkv(tokens).unflatten(-1, (3, 2, -1)).permute(2, 0, 3, 1, 4)
            scores = query @ key.mT * self.temperature * query.shape[-1] ** -0.5
            return (scores.softmax(-1) @ value).transpose(1, 2).flatten(2)

    model = LabViT()
    model.body[1] = Tempered(8, 2)
    words = r"'body.1' \(Tempered\) computes .* what it does with self.temperature; .* attn_drop"
    with pytest.raises(ValueError, match=words):
        AttentionRecorder(model, "body.*")


def test_the_check_leaves_the_student_and_the_random_numbers_alone():
    model = LabViT().train()
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    state = torch.get_rng_state()
    AttentionRecorder(model, "body.*")
    assert torch.equal(torch.get_rng_state(), state) and model.training
    assert all(module.training for module in model.modules())
    for name, tensor in model.state_dict().items():
        assert torch.equal(tensor, before[name])
    assert all(parameter.requires_grad for parameter in model.parameters())
    assert [len(module._forward_hooks) for module in model.body] == [0, 0, 0]


def test_attention_that_cannot_be_seen_or_run_is_taken_with_a_warning():
    class Opaque(LabAttention):
        def forward(self, tokens):
            self.qkv(tokens)
            return tokens

    model = LabViT()
    model.body[0] = Opaque(8, 2)
    with pytest.warns(UserWarning, match=r"'body.0' \(Opaque\) multiplies no weights"):
        AttentionRecorder(model, "body.*")
    model.patches = nn.Conv2d(3, 7, 4, 4)
    with pytest.warns(UserWarning, match="does not run on images of any common size.*'body.0'$"):
        AttentionRecorder(model, "body.*")


def test_a_first_convolution_that_does_not_run_is_named():
    model = LabViT()
    model._modules = dict(stem=nn.Conv2d(3, 3, 1), **model._modules)
    with pytest.raises(ValueError, match="patch_embed: .* does not run; name the one that makes"):
        AttentionRecorder(model, "body.*")
    named = dict(attention="body.*", patch_embed="patches")
    assert AttentionRecorder(model, named).heads == [2, 2, 2]


def test_students_of_other_images_than_rgb_are_checked_too():
    for channels in (1, 4):
        model = LabViT()
        model.patches = nn.Conv2d(channels, 8, 4, 4)
        assert AttentionRecorder(model, "body.*").heads == [2, 2, 2]  # without a warning


@pytest.mark.parametrize(
    ("names", "class_token"),
    [
        (("q", "k"), True),
        (("q_proj", "k_proj"), False),
        (("query", "key"), True),
        (("to_q", "to_k"), True),
    ],
)
def test_separate_query_and_key_projections_are_read_by_name(names, class_token):
    class Separate(nn.Module):
        def __init__(self):
            super().__init__()
            self.heads = 2
            for name in (*names, "value"):
                setattr(self, name, nn.Linear(8, 8))

        def forward(self, tokens):
            query, key, value = (
                getattr(self, name)(tokens).unflatten(-1, (2, -1)).transpose(1, 2)
                for name in (*names, "value")
            )
            return F.scaled_dot_product_attention(query, key, value).transpose(1, 2).flatten(2)

    torch.manual_seed(0)
    model = LabViT()
    model.body = nn.ModuleList(Separate() for _ in range(2))
    layers = dict(attention="body.*", class_token=class_token)
    check_maps(model, layers, class_row if class_token else received)


def test_class_attention_is_read_by_name():
    model = timm_model("cait_xxs24_224")
    named = AttentionRecorder(model, "blocks_token_only.*.attn")
    known = AttentionRecorder(model)
    for recorder in (named, known):
        recorder.start((32, 32))
    model(torch.randn(1, 3, 32, 32))
    for got, expected in zip(named.stop(), known.stop(), strict=True):
        torch.testing.assert_close(got, expected)


class Scaled(nn.Linear):
    """A projection with a factor of its own, as a LoRA layer has."""

    scale = scaling = 3.0

    def forward(self, tokens):
        return self.scale * super().forward(tokens)


class TemperedAttention(nn.Module):
    """One `qkv` projection, or separate ones, and nothing else that AAL could read."""

    def __init__(self, separate):
        super().__init__()
        self.num_heads, self.scale = 2, 0.7
        names = ("q", "k", "v") if separate else ("qkv",)
        for name in names:
            setattr(self, name, Scaled(8, 24 // len(names)))
        self.projections = names

    def forward(self, tokens):
        parts = torch.cat([getattr(self, name)(tokens) for name in self.projections], dim=-1)
        query, key, value = parts.unflatten(-1, (3, 2, -1)).permute(2, 0, 3, 1, 4)
        out = F.scaled_dot_product_attention(query, key, value, scale=self.scale)
        return out.transpose(1, 2).flatten(2)


@pytest.mark.parametrize("separate", [False, True])
def test_the_scale_is_the_attentions_and_not_that_of_its_projection(separate):
    torch.manual_seed(0)
    model = LabViT()
    model.body = nn.ModuleList(TemperedAttention(separate) for _ in range(2))
    check_maps(model, "body.*")
