"""Modules that LoRA, quantisation or fusion replace: before AAL is linked, and after it."""

import pytest
import timm
import torch
from torch import nn
from torch.distributed.algorithms._checkpoint.checkpoint_wrapper import checkpoint_wrapper

from aal_plugin.core import AttentionRecorder, FeatureRecorder, LinkedStudent

from .attention_loops import InterceptedWeights, class_row

SIZE = (24, 16)


class Lora(nn.Module):
    """As peft's: it holds the frozen layer that it replaces, and adds two small products to it."""

    def __init__(self, base_layer, rank=2):
        super().__init__()
        self.base_layer = base_layer.requires_grad_(False)
        self.down = nn.Linear(base_layer.in_features, rank, bias=False)
        self.up = nn.Linear(rank, base_layer.out_features, bias=False)

    def forward(self, tokens):
        return self.base_layer(tokens) + self.up(self.down(tokens))


class FakeFSDP(nn.Module):
    """As FullyShardedDataParallel, without a process group."""

    def __init__(self, module):
        super().__init__()
        self._fsdp_wrapped_module = module

    def __getattr__(self, name):
        try:
            return super().__getattr__(name)
        except AttributeError:
            return getattr(self._fsdp_wrapped_module, name)

    def forward(self, *args, **kwargs):
        return self._fsdp_wrapped_module(*args, **kwargs)


class Other(nn.Module):
    def __init__(self, attention):
        super().__init__()
        self.inner = attention

    def forward(self, tokens, **kwargs):
        return 2 * self.inner(tokens, **kwargs)


def with_moved_hooks(old):
    """As torch.ao.quantization's swap_module: the hooks move, and no longer receive kwargs."""
    new = nn.Linear(old.in_features, old.out_features)
    for hook in old._forward_hooks.values():
        new.register_forward_hook(hook)
    return new


def vit(**kwargs):
    torch.manual_seed(0)
    small = dict(img_size=SIZE, patch_size=8, embed_dim=16, depth=3, num_heads=2, num_classes=5)
    return timm.create_model("vit_tiny_patch16_224", **{**small, **kwargs})


def replace(model, name, make):
    owner, _, attribute = name.rpartition(".")
    setattr(model.get_submodule(owner), attribute, make(model.get_submodule(name)))


def maps_of(model, images):
    recorder = AttentionRecorder(model)
    recorder.start(SIZE)
    model(images)
    return recorder.stop()


@pytest.mark.parametrize(
    ("name", "make", "now"),
    [
        ("blocks.2.attn.qkv", Lora, r"\.Lora"),
        ("blocks.0.attn.qkv", with_moved_hooks, r"linear\.Linear"),
        ("blocks.1.attn", Other, r"\.Other"),
        ("blocks.1.attn.k_norm", lambda norm: nn.LayerNorm(8), r"\.LayerNorm"),
        ("patch_embed.proj", lambda conv: nn.Conv2d(3, 16, 8, 8), r"conv\.Conv2d"),
    ],
)
def test_a_module_that_is_replaced_after_linking_is_named_before_the_step(name, make, now):
    model = vit(qk_norm=True)
    linked = LinkedStudent(model, channels=[4])
    images, activations = torch.randn(2, 3, *SIZE), [torch.rand(2, 4, 3, 2)]
    linked(images, activations)
    replace(model, name, make)
    model(images)  # without AAL it runs as before
    with pytest.raises(ValueError, match=rf"'{name}' is a \S*{now} now, not the .*after LoRA"):
        linked(images, activations)
    assert linked(images)[1] == 0  # λ = 0 records nothing
    # Linked again, the maps are those of the student as it is.
    if make is Lora:
        LinkedStudent(model, channels=[4])(images, activations)


@pytest.mark.parametrize("level", ["blocks.1", "layer3"])
def test_a_replaced_level_of_the_student_is_named_too(level):
    model = vit() if level == "blocks.1" else timm.create_model("test_resnet")
    recorder = FeatureRecorder(model)
    replace(model, level, lambda module: nn.Sequential(module))
    with pytest.raises(ValueError, match=rf"'{level}' is a \S*Sequential now, not the "):
        recorder.start(SIZE)


@pytest.mark.parametrize(
    ("wrap", "name"),
    [
        (checkpoint_wrapper, "blocks.1"),
        (FakeFSDP, "blocks.1.attn"),
        (FakeFSDP, "blocks.1.attn.qkv"),
        (lambda module: torch.compile(module, backend="eager"), "blocks.1.attn.qkv"),
    ],
)
def test_torchs_own_wrappers_leave_the_maps_alone(wrap, name):
    images = torch.randn(2, 3, *SIZE)
    model = vit().eval()
    expected, recorder = maps_of(model, images), AttentionRecorder(model)
    replace(model, name, wrap)
    recorders = [recorder]
    if name != "blocks.1.attn":  # a wrapped attention module is no module of the family
        recorders.append(AttentionRecorder(model))
    for recorder in recorders:
        recorder.start(SIZE)
    model(images)
    for recorder in recorders:
        for got, wanted in zip(recorder.stop(), expected, strict=True):
            torch.testing.assert_close(got, wanted)


@pytest.mark.parametrize("part", ["qkv", "proj"])
def test_linked_after_lora_the_maps_are_those_of_the_student_with_lora(part):
    model = vit().double().requires_grad_(False)
    for number in range(3):
        replace(model, f"blocks.{number}.attn.{part}", lambda linear: Lora(linear).double())
    images = torch.randn(2, 3, *SIZE, dtype=torch.float64)
    model.train()
    recorder = AttentionRecorder(model)
    recorder.start(SIZE)
    with InterceptedWeights() as seen:
        model(images)
    maps = recorder.stop()
    for weights, got in zip(seen.weights, maps, strict=True):
        for image in range(2):
            torch.testing.assert_close(got[image].detach(), class_row(weights[image], 1, (3, 2)))
    # The first block's queries have nothing that trains before them if `proj` alone has LoRA.
    assert [block.requires_grad for block in maps] == [part == "qkv", True, True]
    sum(block.square().sum() for block in maps).backward()
    last = model.blocks[2 if part == "qkv" else 1].attn.get_submodule(part)
    assert last.up.weight.grad.abs().sum() > 0


def test_a_projection_without_a_width_is_read_too():
    transformers = pytest.importorskip("transformers")
    config = transformers.ViTConfig(
        hidden_size=16, num_hidden_layers=1, num_attention_heads=2, intermediate_size=32,
        image_size=SIZE, patch_size=8,
    )  # fmt: skip
    model, images = transformers.ViTModel(config).eval(), torch.randn(1, 3, *SIZE)
    expected = maps_of(model, images)
    projections = ("q_proj", "query")
    name = next(n for n, _ in model.named_modules() if n.endswith(projections))
    replace(model, name, nn.Sequential)
    torch.testing.assert_close(maps_of(model, images), expected)
