"""What the table of students does not run: noise of training, compilation, counts and refusals."""

import copy

import pytest
import timm
import torch
import torch.nn.functional as F
from torch import nn

from aal_plugin.core import AttentionRecorder

from .attention_loops import InterceptedWeights, received
from .timm_students import SMALL, levit

SIZE = (32, 48)
PLAIN = "vit_tiny_patch16_224"
ROTARY = "vit_small_patch16_dinov3"
RELATIVE = "vit_relpos_small_patch16_224"


def student(name=PLAIN, **kwargs):
    torch.manual_seed(0)
    model = timm.create_model(name, **{**SMALL, "img_size": SIZE, **kwargs})
    for parameter in model.parameters():
        nn.init.normal_(parameter, mean=float(parameter.dim() == 1), std=0.3)
    return model


def images(batch=2, dtype=torch.float64):
    return torch.randn(batch, 3, *SIZE, dtype=dtype)


def maps_of(model, images):
    recorder = AttentionRecorder(model)
    recorder.start(images.shape[-2:])
    model(images)
    return recorder.stop()


def test_the_position_networks_dropout_is_the_one_that_the_block_had():
    model, batch = student(RELATIVE).double().train(), images()
    state = torch.get_rng_state()
    model(batch)
    after_a_step = torch.get_rng_state()
    torch.set_rng_state(state)
    recorder = AttentionRecorder(model)
    recorder.start(SIZE)
    with InterceptedWeights() as seen:
        model(batch)
    maps = recorder.stop()
    assert torch.equal(torch.get_rng_state(), after_a_step), "AAL drew random numbers"
    for weights, got in zip(seen.weights, maps, strict=True):
        for image in range(2):
            torch.testing.assert_close(got[image], received(weights[image], 0, (2, 3)))


@pytest.mark.parametrize("name", [PLAIN, ROTARY, "vit_srelpos_small_patch16_224", "cait_xxs24_224"])
def test_gradients_are_the_same_under_gradient_checkpointing(name):
    batch, gradients = images(), []
    for checkpointing in (False, True):
        model = student(name).double().train()
        model.set_grad_checkpointing(checkpointing)
        sum(maps.square().sum() for maps in maps_of(model, batch)).backward()
        gradients.append(model.patch_embed.proj.weight.grad)
    assert gradients[0].abs().sum() > 0
    torch.testing.assert_close(*gradients)


def test_attention_without_gradients_is_an_error():
    model = student().double().train()
    forward = model.blocks[1].forward
    model.blocks[1].forward = lambda x: torch.utils.checkpoint.checkpoint(
        forward, x, use_reentrant=True
    )
    words = "block 2 ran without gradients.*use_reentrant=False.*with_cp=False"
    with pytest.raises(ValueError, match=words):
        maps_of(model, images())


def test_compiled_students_show_the_same_maps():
    model, batch = student(RELATIVE).eval(), images(1, torch.float32)
    recorder = AttentionRecorder(model)
    torch._dynamo.reset()
    found = []
    for call in (model, torch.compile(model, backend="eager")):
        recorder.start(SIZE)
        with torch.no_grad():
            call(batch)
        found.append(recorder.stop())
    for plain, compiled in zip(*found, strict=True):
        torch.testing.assert_close(plain, compiled)


@pytest.mark.skipif(
    torch.__version__.startswith("2.6"), reason="torch 2.6 compiles again for every hook object"
)
def test_blocks_are_compiled_once_and_not_one_by_one():
    model = student(depth=9)  # more than torch compiles one function for
    torch._dynamo.reset()
    torch._dynamo.utils.counters.clear()
    recorder = AttentionRecorder(model)
    # Block by block, as a student with a graph break in each is compiled.
    for block in model.blocks:
        block.attn.forward = torch.compile(block.attn.forward, backend="eager")
    recorder.start(SIZE)
    model(images(1, torch.float32))
    assert len(recorder.stop()) == 9
    assert torch._dynamo.utils.counters["stats"]["unique_graphs"] == 1


@pytest.mark.parametrize("name", [ROTARY, RELATIVE])
def test_half_precision_gives_maps_in_float32(name):
    model = student(name).bfloat16().eval()
    for maps in maps_of(model, images(1, torch.bfloat16)):
        assert maps.dtype == torch.float32
        torch.testing.assert_close(maps.sum((-2, -1)), torch.ones(1, 2))


def test_a_deep_copy_has_a_recorder_of_its_own():
    model = student().double()
    model.recorder = AttentionRecorder(model)
    twin = copy.deepcopy(model)
    model.recorder.start(SIZE)
    twin(images())
    model(images())
    assert len(model.recorder.stop()) == 2
    with pytest.raises(ValueError, match=r"blocks \[1, 2\] did not run between start and stop"):
        twin.recorder.start(SIZE)
        model(images())
        twin.recorder.stop()


def test_a_block_that_did_not_run_is_named():
    model = student().double()
    model.blocks[1].forward = lambda tokens, **_: tokens  # layer drop
    with pytest.raises(ValueError, match=r"the student's blocks \[2\] did not run"):
        maps_of(model, images())


@pytest.mark.parametrize(
    ("name", "size", "words"),
    [
        (PLAIN, (32, 40), "images of 32×40 pixels: .*patch of 16×16.*32×32"),
        ("vit_base_mci_224", (224, 216), "images of 224×216 pixels: .*patch of 16×16"),  # a stem
    ],
)
def test_image_sizes_that_the_patch_does_not_divide_are_named(name, size, words):
    kwargs = dict(SMALL, dynamic_img_size=True) if name == PLAIN else dict(depth=1)
    model = timm.create_model(name, **kwargs)
    with pytest.raises(ValueError, match=words):
        AttentionRecorder(model).start(size)


def test_another_image_size_than_that_of_training_works():
    model = student(dynamic_img_size=True).double()
    maps = maps_of(model, torch.randn(1, 3, 64, 80, dtype=torch.float64))
    assert maps[0].shape == (1, 2, 4, 5)


def test_batches_of_several_grids_are_an_error():
    model = timm.create_model("naflexvit_base_patch16_gap", **SMALL).eval()
    AttentionRecorder(model).start(SIZE)
    y, x = torch.meshgrid(torch.arange(2), torch.arange(3), indexing="ij")
    batch = dict(
        patches=torch.randn(1, 6, 16 * 16 * 3),
        patch_coord=torch.stack((y, x), -1).view(1, 6, 2),
        patch_valid=torch.ones(1, 6, dtype=torch.bool),
    )
    with pytest.raises(ValueError, match=r"NaFlex mode.*give the student a tensor \(B, 3, H, W\)"):
        model(batch)


def test_patch_dropout_is_an_error_for_rotary_positions_too():
    model = student(ROTARY, patch_drop_rate=0.5).double().train()
    with pytest.raises(ValueError, match="3 patch tokens do not fill the patch grid 2×3"):
        maps_of(model, images())


@pytest.mark.parametrize(
    ("name", "kwargs", "words"),
    [
        (
            "xcit_nano_12_p16_224",
            dict(SMALL, cls_attn_layers=0),
            "Xcit: its cross-covariance attention .* cls_attn_layers",
        ),
        ("test_resnet", {}, "AAL does not know how to read its attention; .*timm Vision"),
    ],
)
def test_the_error_for_a_student_without_readable_attention_says_why(name, kwargs, words):
    with pytest.raises(ValueError, match=words):
        AttentionRecorder(timm.create_model(name, **kwargs))


@pytest.mark.parametrize("name", [PLAIN, "beit_base_patch16_224", "hiera_tiny_224", "levit_128s"])
def test_attention_that_is_computed_otherwise_is_not_taken_for_the_familys(name):
    model = timm.create_model(name, **(SMALL if "patch16" in name else {}))
    attn = next(m for n, m in model.named_modules() if n.endswith(".attn"))

    class Cosine(type(attn)):
        def forward(self, x, **kwargs):
            return super().forward(F.normalize(x, dim=-1), **kwargs)

    AttentionRecorder(model)
    attn.__class__ = Cosine
    with pytest.raises(ValueError, match="AAL does not know how to read its attention"):
        AttentionRecorder(model)


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
    with torch.device("meta"):
        model = timm.create_model(name)
    assert sum(AttentionRecorder(model).heads) == maps


def test_one_images_gradients_are_those_of_a_batch_of_it_twice():
    # torch's BatchNorm on CPUs misreads the transposed gradient of a batch of one.
    image, gradients = torch.randn(1, 3, 128, 128, dtype=torch.float64), []
    for batch in (image, image.expand(2, -1, -1, -1)):
        torch.manual_seed(0)
        model = levit("levit_conv_128s")().double().eval()
        sum(maps.square().sum() for maps in maps_of(model, batch)).div(len(batch)).backward()
        gradients.append({n: p.grad for n, p in model.named_parameters() if p.grad is not None})
    assert any(name.endswith("kv.bn.weight") for name in gradients[0])
    for name, twice in gradients[1].items():
        assert (gradients[0][name] - twice).norm() <= 1e-6 * twice.norm() + 1e-18, name
