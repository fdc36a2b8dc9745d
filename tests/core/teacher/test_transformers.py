"""Transformers as teachers: the maps that timm's own extraction gives, from hooks on blocks."""

import pytest
import timm
import torch

from aal_plugin.core import FrozenTeacher, TimmTeacher

# name: arguments that keep the test short, and the prefix tokens of its authors.
SMALL_VIT = dict(embed_dim=32, depth=6, num_heads=2, img_size=(56, 84))
VITS = {
    "deit_tiny_patch16_224": (dict(SMALL_VIT, img_size=(48, 80)), 1),
    "deit_tiny_distilled_patch16_224": (dict(SMALL_VIT, img_size=(48, 80)), 2),
    "vit_small_patch14_dinov2": (SMALL_VIT, 1),
    "vit_small_patch14_reg4_dinov2": (SMALL_VIT, 5),
    "vit_small_patch16_dinov3": (dict(SMALL_VIT, img_size=(48, 80)), 5),
    "vit_base_patch16_siglip_224": (dict(SMALL_VIT, img_size=(48, 80)), 0),
    "vit_base_patch16_clip_224": (dict(SMALL_VIT, img_size=(48, 80)), 1),
    "eva02_tiny_patch14_224": (SMALL_VIT, 1),
    "beit_base_patch16_224": (dict(SMALL_VIT, img_size=(48, 80)), 1),
    "deit3_small_patch16_224": (dict(SMALL_VIT, img_size=(48, 80)), 1),
    "xcit_nano_12_p16_224": (dict(embed_dim=32, depth=6, num_heads=2, img_size=64), 0),
}
HIERARCHICAL = {
    "swin_tiny_patch4_window7_224": dict(
        embed_dim=8, depths=(2, 2, 2, 1), num_heads=(1, 2, 2, 4), window_size=4, img_size=(64, 96)
    ),
    "swinv2_tiny_window8_256": dict(
        embed_dim=8, depths=(2, 1, 1, 1), num_heads=(1, 2, 2, 4), window_size=4, img_size=(64, 96)
    ),
    "convnext_tiny": dict(depths=(1, 1, 1, 1), dims=(8, 16, 24, 32)),
    "pit_ti_224": dict(base_dims=(8, 8, 8), depth=(1, 2, 1), heads=(2, 4, 8), img_size=64),
    "pvt_v2_b0": {},
    "mvitv2_tiny": dict(img_size=64),
    "davit_tiny": dict(depths=(1, 1, 1, 1), embed_dims=(8, 16, 24, 32), num_heads=(1, 2, 2, 4)),
    "levit_128s": dict(img_size=64),
}


def built(name, **changes):
    torch.manual_seed(0)
    return timm.create_model(name, num_classes=3, **changes).double().eval()


def teacher_of(model, size, **options):
    return FrozenTeacher(model, channels_last=False, input_size=size, **options)


def images(size):
    generator = torch.Generator().manual_seed(1)
    return torch.randn(2, 3, *size, generator=generator, dtype=torch.float64)


def size_of(settings, other=(64, 64)):
    size = settings.get("img_size", other)
    return (size, size) if isinstance(size, int) else size


@pytest.mark.parametrize("name", VITS)
def test_a_vits_levels_are_four_evenly_spaced_blocks_as_timm_extracts_them(name):
    settings, prefix = VITS[name]
    model, size = built(name, **settings), size_of(settings)
    teacher = teacher_of(model, size)
    assert teacher.layers == [f"blocks.{index}" for index in (1, 2, 4, 5)]
    x = images(size)
    maps, _ = teacher(x)
    expected = model.forward_intermediates(
        x, indices=[1, 2, 4, 5], norm=False, output_fmt="NCHW", intermediates_only=True
    )
    for got, wanted in zip(maps, expected):
        torch.testing.assert_close(got, wanted)
    patches = maps[0].shape[-2] * maps[0].shape[-1]
    tokens = []
    model.blocks[0].register_forward_hook(lambda m, args, out: tokens.append(out.shape[1]))
    model(x)
    assert tokens == [patches + prefix]


def test_a_vits_maps_are_those_of_get_intermediate_layers_and_of_features_only():
    name, settings = "vit_small_patch14_reg4_dinov2", VITS["vit_small_patch14_reg4_dinov2"][0]
    model, size = built(name, **settings), size_of(settings)
    x = images(size)
    layers = ["blocks.0", "blocks.3"]
    maps, logits = teacher_of(model, size, layers=layers)(x, with_logits=True)
    expected = model.get_intermediate_layers(x, n=[0, 3], reshape=True, norm=False)
    for got, wanted in zip(maps, expected):
        torch.testing.assert_close(got, wanted)
    torch.testing.assert_close(logits, model(x))
    extractor = timm.create_model(name, features_only=True, out_indices=(0, 3), **settings)
    extractor.model.norm = torch.nn.Identity()  # timm's extraction ends with it
    extractor.model.load_state_dict(model.state_dict(), strict=False)
    own = teacher_of(extractor.double().eval(), size)
    assert own.layers == ["[0]", "[1]"]
    for got, wanted, first in zip(own(x)[0], extractor(x), maps):
        torch.testing.assert_close(got, wanted)
        torch.testing.assert_close(got, first)


@pytest.mark.parametrize("name", HIERARCHICAL)
def test_a_hierarchical_transformers_levels_are_its_stages_as_timm_extracts_them(name):
    settings = HIERARCHICAL[name]
    model, size = built(name, **settings), size_of(settings)
    teacher = teacher_of(model, size, fold_norms=False)
    x = images(size)
    maps, _ = teacher(x)
    expected = model.forward_intermediates(
        x, norm=False, output_fmt="NCHW", intermediates_only=True
    )
    assert teacher.channels == [info["num_chs"] for info in model.feature_info]
    assert len(maps) == len(expected)
    for got, wanted in zip(maps, expected):
        torch.testing.assert_close(got, wanted)


def test_blocks_of_several_grids_give_the_last_one_of_each():
    """SAM2's Hiera keeps all blocks in one list, and its stages are where grid and width change."""
    model = built(
        "sam2_hiera_tiny", embed_dim=8, num_heads=1, stages=(1, 2, 3, 1), global_att_blocks=(4,)
    )
    teacher = teacher_of(model, (128, 128))
    assert teacher.layers == ["blocks.0", "blocks.2", "blocks.5", "blocks.6"]
    x = images((128, 128))
    expected = model.forward_intermediates(x, intermediates_only=True, output_fmt="NCHW")
    for got, wanted in zip(teacher(x)[0], expected):
        torch.testing.assert_close(got, wanted)


def test_tokens_in_another_order_than_the_grids_are_an_error_and_timms_own_maps_are_not():
    small = dict(embed_dim=8, num_heads=1, stages=(1, 1, 1, 1), img_size=(64, 64))
    small.update(mask_unit_size=(2, 2), q_pool=1)
    with pytest.raises(ValueError, match="not in the order of their grid.*features_only=True"):
        TimmTeacher("hiera_tiny_224", allow_random_weights=True, **small)
    teacher = TimmTeacher(
        "hiera_tiny_224", allow_random_weights=True, features_only=True, channels_last=False,
        **small,
    )  # fmt: skip
    x = images((64, 64)).float()
    for got, wanted in zip(teacher(x)[0], teacher.model(x)):
        torch.testing.assert_close(got, wanted)


def test_grids_follow_the_images_where_the_model_takes_any_size():
    settings = dict(VITS["deit_tiny_patch16_224"][0], dynamic_img_size=True, dynamic_img_pad=True)
    model = built("deit_tiny_patch16_224", **settings)
    teacher = teacher_of(model, (48, 80))
    for size in ((48, 80), (80, 48), (64, 64), (50, 100), (16, 96), (33, 64)):
        x = images(size)
        expected = model.forward_intermediates(
            x, indices=[1, 2, 4, 5], norm=False, intermediates_only=True
        )
        for got, wanted in zip(teacher(x)[0], expected):
            torch.testing.assert_close(got, wanted)


@pytest.mark.parametrize(
    ("name", "settings"),
    [
        ("vit_small_patch16_dinov3", dict(SMALL_VIT, img_size=(48, 80))),
        ("swin_tiny_patch4_window7_224", HIERARCHICAL["swin_tiny_patch4_window7_224"]),
    ],
)
@pytest.mark.parametrize("options", [dict(), dict(dtype="bfloat16"), dict(dtype="float16")])
def test_speed_options_leave_a_transformers_maps_alike(name, settings, options):
    plain = built(name, **settings).float()
    size = size_of(settings)
    fast = FrozenTeacher(built(name, **settings).float(), input_size=size, **options)
    x = images(size).float()
    bound = 0.03 if "dtype" in options else 1e-5
    exact, _ = teacher_of(plain, size, fold_norms=False)(x)
    got, logits = fast(x, with_logits=True)
    for level, wanted in zip(got, exact):
        assert (level.float() - wanted).norm() < bound * wanted.norm()
    assert (logits.float() - plain(x)).norm() < bound * 2 * plain(x).norm()


def test_timms_weights_of_another_image_size_are_resampled_as_timm_does(tmp_path):
    """As a DINOv2 file of 518 px for a teacher of 224 px."""
    name, settings = "vit_small_patch14_dinov2", dict(VITS["vit_small_patch14_dinov2"][0])
    large = timm.create_model(name, **dict(settings, img_size=112))
    torch.save(large.state_dict(), tmp_path / "large.pth")
    overlay = dict(state_dict=large.state_dict())
    expected = timm.create_model(
        name, pretrained=True, pretrained_cfg_overlay=overlay, **dict(settings, img_size=56)
    )
    teacher = TimmTeacher(
        name, checkpoint=str(tmp_path / "large.pth"), **dict(settings, img_size=56)
    )
    for key, tensor in expected.state_dict().items():
        assert torch.equal(teacher.model.state_dict()[key], tensor), key


def test_a_features_only_teacher_loads_a_checkpoint_of_the_whole_model(tmp_path):
    whole = timm.create_model("test_resnet", num_classes=3)
    torch.save(whole.state_dict(), tmp_path / "whole.pth")
    teacher = TimmTeacher(
        "test_resnet", checkpoint=str(tmp_path / "whole.pth"), num_classes=3, features_only=True,
        out_indices=(1, 3), fold_norms=False,
    )  # fmt: skip
    by_name = FrozenTeacher(whole, teacher.model.feature_info.module_name(), fold_norms=False)
    x = images((64, 64)).float()
    for got, wanted in zip(teacher(x)[0], by_name(x)[0], strict=True):
        torch.testing.assert_close(got, wanted)


@pytest.mark.parametrize("registers", [0, 4])
def test_hugging_faces_dinov2_has_its_hidden_states_as_levels(registers):
    transformers = pytest.importorskip("transformers")
    kind = "Dinov2WithRegisters" if registers else "Dinov2"
    settings = dict(
        hidden_size=16, num_hidden_layers=6, num_attention_heads=2, image_size=56, patch_size=14
    )
    config = getattr(transformers, f"{kind}Config")(**settings)
    torch.manual_seed(0)
    model = getattr(transformers, f"{kind}Model")(config).double().eval()
    teacher = teacher_of(model, (56, 56))
    assert teacher.layers == [f"encoder.layer.{index}" for index in (1, 2, 4, 5)]
    x = images((56, 56))
    states = model(x, output_hidden_states=True).hidden_states[1:]
    for got, index in zip(teacher(x)[0], (1, 2, 4, 5), strict=True):
        wanted = states[index][:, 1 + registers :].mT.unflatten(-1, (4, 4))
        torch.testing.assert_close(got, wanted)
