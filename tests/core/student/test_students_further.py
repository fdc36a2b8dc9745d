"""What the table of students does not run: training noise, checkpointing, compilation, limits."""

import pytest
import timm
import torch
from torch import nn

from aal_plugin.core import AttentionRecorder

from .attention_loops import InterceptedWeights, received
from .timm_students import SMALL, levit


def student(name, **kwargs):
    torch.manual_seed(0)
    model = timm.create_model(name, **{**SMALL, **kwargs})
    for parameter in model.parameters():
        nn.init.normal_(parameter, mean=float(parameter.dim() == 1), std=0.3)
    return model


def maps_of(model, images):
    recorder = AttentionRecorder(model)
    recorder.start(images.shape[-2:])
    model(images)
    return recorder.stop()


def test_the_position_networks_dropout_is_the_one_that_the_block_had():
    model = student("vit_relpos_small_patch16_224", img_size=(32, 48)).double().train()
    images = torch.randn(2, 3, 32, 48, dtype=torch.float64)
    state = torch.get_rng_state()
    model(images)
    after_a_step = torch.get_rng_state()
    torch.set_rng_state(state)
    recorder = AttentionRecorder(model)
    recorder.start((32, 48))
    with InterceptedWeights() as seen:
        model(images)
    maps = recorder.stop()
    assert torch.equal(torch.get_rng_state(), after_a_step), "AAL drew random numbers"
    for weights, got in zip(seen.weights, maps, strict=True):
        for image in range(2):
            torch.testing.assert_close(got[image], received(weights[image], 0, (2, 3)))


@pytest.mark.parametrize(
    ("name", "kwargs"),
    [
        ("vit_small_patch16_dinov3", {}),
        ("vit_srelpos_small_patch16_224", {}),
        ("cait_xxs24_224", {}),
    ],
)
def test_gradients_are_the_same_under_gradient_checkpointing(name, kwargs):
    images, gradients = torch.randn(2, 3, 32, 48, dtype=torch.float64), []
    for checkpointing in (False, True):
        model = student(name, img_size=(32, 48), **kwargs).double().train()
        model.set_grad_checkpointing(checkpointing)
        sum(maps.square().sum() for maps in maps_of(model, images)).backward()
        gradients.append(model.patch_embed.proj.weight.grad)
    assert gradients[0].abs().sum() > 0
    torch.testing.assert_close(*gradients)


@pytest.mark.parametrize("name", ["vit_small_patch16_dinov3", "vit_relpos_small_patch16_224"])
def test_compiled_students_show_the_same_maps(name):
    model = student(name, img_size=(32, 48)).eval()
    images, recorder = torch.randn(1, 3, 32, 48), AttentionRecorder(model)
    torch._dynamo.reset()
    found = []
    for call in (model, torch.compile(model, backend="eager")):
        recorder.start((32, 48))
        with torch.no_grad():
            call(images)
        found.append(recorder.stop())
    for plain, compiled in zip(*found, strict=True):
        torch.testing.assert_close(plain, compiled)


@pytest.mark.parametrize("name", ["vit_small_patch16_dinov3", "vit_relpos_small_patch16_224"])
def test_half_precision_gives_maps_in_float32(name):
    model = student(name, img_size=(32, 48)).bfloat16().eval()
    for maps in maps_of(model, torch.randn(1, 3, 32, 48, dtype=torch.bfloat16)):
        assert maps.dtype == torch.float32
        torch.testing.assert_close(maps.sum((-2, -1)), torch.ones(1, 2))


def test_batches_of_several_grids_are_an_error():
    model = student("naflexvit_base_patch16_gap").eval()
    recorder = AttentionRecorder(model)
    recorder.start((32, 48))
    y, x = torch.meshgrid(torch.arange(2), torch.arange(3), indexing="ij")
    batch = dict(
        patches=torch.randn(1, 6, 16 * 16 * 3),
        patch_coord=torch.stack((y, x), -1).view(1, 6, 2),
        patch_valid=torch.ones(1, 6, dtype=torch.bool),
    )
    with pytest.raises(ValueError, match=r"NaFlex mode.*give the student a tensor \(B, 3, H, W\)"):
        model(batch)


def test_an_xcit_without_class_attention_is_an_error_that_says_why():
    model = student("xcit_nano_12_p16_224", img_size=(32, 48), cls_attn_layers=0)
    with pytest.raises(ValueError, match="Xcit: its cross-covariance attention .* cls_attn_layers"):
        AttentionRecorder(model)


def test_patch_dropout_is_an_error_for_rotary_positions_too():
    model = student("vit_small_patch16_dinov3", img_size=(32, 48), patch_drop_rate=0.5).train()
    with pytest.raises(ValueError, match="3 patch tokens do not fill the patch grid 2×3"):
        maps_of(model, torch.randn(1, 3, 32, 48))


def test_one_images_gradients_are_those_of_a_batch_of_it_twice():
    # torch's BatchNorm on CPUs misreads the transposed gradient of a batch of one.
    images, gradients = torch.randn(1, 3, 128, 128, dtype=torch.float64), []
    for batch in (images, images.expand(2, -1, -1, -1)):
        torch.manual_seed(0)
        model = levit("levit_conv_128s")().double().eval()
        sum(maps.square().sum() for maps in maps_of(model, batch)).div(len(batch)).backward()
        gradients.append({n: p.grad for n, p in model.named_parameters() if p.grad is not None})
    assert any(name.endswith("kv.bn.weight") for name in gradients[0])
    for name, twice in gradients[1].items():
        assert (gradients[0][name] - twice).norm() <= 1e-6 * twice.norm() + 1e-18, name
