"""Locality guidance: the loss against the paper's formula, its choices, and `LinkedStudent`."""

import copy

import pytest
import timm
import torch
import torch.nn.functional as F
from torch import nn

from aal_plugin.core import LinkedStudent
from aal_plugin.core.guidance import guidance_pairs, guidance_settings

IMAGES = torch.randn(3, 3, 24, 16, generator=torch.Generator().manual_seed(0)).double()
CHANNELS = (4, 12, 7)


def student(depth=3):
    torch.manual_seed(1)
    shape = dict(img_size=(24, 16), patch_size=8, embed_dim=12, depth=depth, num_heads=3)
    return timm.create_model("vit_tiny_patch16_224", num_classes=5, **shape).double()


def levels():
    generator = torch.Generator().manual_seed(2)
    sizes = ((6, 4), (3, 2), (2, 2))
    return [torch.randn(3, c, *s, generator=generator).double() for c, s in zip(CHANNELS, sizes)]


def loss_by_loops(model, convolutions, blocks, levels):
    """Σ over pairs of ‖R(S)/‖R(S)‖ − T/‖T‖‖², image by image, from the blocks' own outputs."""
    tokens = []
    hooks = [
        model.blocks[block - 1].register_forward_hook(lambda m, a, out: tokens.append(out))
        for block in blocks
    ]
    model(IMAGES)
    for hook in hooks:
        hook.remove()
    total = 0.0
    for block, convolution, maps in zip(tokens, convolutions, levels):
        maps = F.interpolate(maps, size=(3, 2), mode="bicubic", align_corners=False)
        for image in range(3):
            patches = block[image, 1:]  # without the class token: (6, 12), row by row
            if convolution is not None:
                patches = patches @ convolution.weight[:, :, 0, 0].T + convolution.bias
            own, theirs = patches.T.flatten(), maps[image].flatten()
            total = total + ((own / own.norm() - theirs / theirs.norm()) ** 2).sum() / 3
    return total


def gradients(module, loss):
    module.zero_grad()
    loss.backward()
    return {name: p.grad.clone() for name, p in module.named_parameters() if p.grad is not None}


@pytest.mark.parametrize("links", [None, "full"])
def test_loss_and_gradients_are_the_papers(links):
    model = LinkedStudent(student(), CHANNELS, links=links, guidance=2.5).double()
    output, distance, guidance = model(IMAGES, levels())
    assert torch.equal(output, student()(IMAGES))
    if links is not None:
        alone = LinkedStudent(model.student, CHANNELS, links=links).double()
        alone.link_loss.links.load_state_dict(model.links.state_dict())
        assert torch.equal(distance, alone(IMAGES, levels())[1])
    else:
        assert distance == 0
    assert [type(r) for r in model.guidance.regressors] == [nn.Conv2d, nn.Identity, nn.Conv2d]
    convolutions = [r if isinstance(r, nn.Conv2d) else None for r in model.guidance.regressors]
    expected = 2.5 * loss_by_loops(model.student, convolutions, (1, 2, 3), levels())
    torch.testing.assert_close(guidance, expected, rtol=1e-9, atol=1e-12)
    found, wanted = gradients(model, guidance), gradients(model, expected)
    wanted = {name: grad for name, grad in wanted.items() if not name.startswith("link_loss")}
    assert found.keys() == wanted.keys() and len(found) > 30
    for name, grad in found.items():
        torch.testing.assert_close(grad, wanted[name], rtol=1e-7, atol=1e-10)


def test_a_dict_chooses_weight_blocks_levels_and_layers():
    settings = dict(weight=0.5, blocks=[3, 1], levels=[1, 3])
    model = LinkedStudent(student(), CHANNELS, links=None, guidance=settings).double()
    chosen = [levels()[2], levels()[0]]
    convolutions = list(model.guidance.regressors)[::-1]
    expected = 0.5 * loss_by_loops(model.student, convolutions, (1, 3), chosen)
    torch.testing.assert_close(model(IMAGES, levels())[2], expected, rtol=1e-9, atol=1e-12)
    named = dict(weight=0.5, student_layers=["blocks.2", "blocks.0"], levels=[1, 3])
    other = LinkedStudent(model.student, CHANNELS, links=None, guidance=named).double()
    other.guidance.load_state_dict(model.guidance.state_dict())
    torch.testing.assert_close(other(IMAGES, levels())[2], expected, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize(
    ("counts", "given", "pairs"),
    [
        ((12, 4), {}, [(1, 1), (5, 2), (8, 3), (12, 4)]),  # the authors' blocks of DeiT
        ((12, 7), {}, [(1, 1), (5, 3), (8, 5), (12, 7)]),
        ((3, 7), {}, [(1, 1), (2, 4), (3, 7)]),
        ((12, 1), {}, [(12, 1)]),
        ((12, 7), dict(levels=[6, 7]), [(1, 6), (12, 7)]),
        ((12, 7), dict(blocks=[2, 3, 4]), [(2, 1), (3, 4), (4, 7)]),
        ((2, 4), dict(levels=[1, 2, 3, 4]), [(1, 1), (1, 2), (2, 3), (2, 4)]),
        ((12, 4), dict(blocks=[12], levels=[2]), [(12, 2)]),
    ],
)
def test_blocks_and_levels_are_spaced_evenly(counts, given, pairs):
    assert guidance_pairs(*counts, **given) == pairs


@pytest.mark.parametrize(
    ("setting", "words"),
    [
        (-1, r"guidance=-1; choose a weight, 0 or more .*2.5\), or a dict of weight, blocks"),
        (True, "guidance=True; choose a weight"),
        (dict(weight="2"), "guidance.weight='2'; choose a weight, 0 or more"),
        (dict(block=[1]), "guidance has the key 'block'; choose among weight, blocks, levels"),
        (dict(blocks=[]), r"guidance.blocks=\[\]; choose one or more numbers from 1 to 3"),
        (dict(blocks=[0]), "guidance.blocks: 0; choose .* from 1 to 3, the student's blocks"),
        (dict(levels=[4]), "guidance.levels: 4; choose .* from 1 to 3, the teacher's levels"),
        (dict(levels=[1.0]), "guidance.levels: 1.0; choose"),
        (
            dict(blocks=[1], levels=[1, 2]),
            r"blocks=\[1\] and guidance.levels=\[1, 2\]; give one level per block",
        ),
        (dict(student_layers=["blocks.9"]), "guidance.student_layers: .* no module 'blocks.9'"),
    ],
)
def test_wrong_settings_are_named(setting, words):
    with pytest.raises(ValueError, match=words):
        LinkedStudent(student(), CHANNELS, guidance=setting)


def test_without_links_and_guidance_the_teacher_would_have_no_effect():
    assert guidance_settings({}) == dict(weight=2.5)
    with pytest.raises(ValueError, match="links=None and guidance=None"):
        LinkedStudent(student(), CHANNELS, links=None)


def test_what_is_not_active_reaches_its_parameters_with_zeros():
    """λ = 0 records no attention; without maps nothing is recorded. DDP waits for gradients."""
    model = LinkedStudent(student(), CHANNELS, guidance=1.0).double()
    expected = model(IMAGES, levels())[2]
    model.recorder.start = None  # a call would fail
    output, distance, guidance = model(IMAGES, levels(), link=False)
    assert distance == 0 and torch.equal(guidance, expected)
    model.guidance.recorder.start = None
    output, distance, guidance = model(IMAGES)
    assert distance == guidance == 0
    (output.sum() + distance + guidance).backward()
    parameters = [*model.links.parameters(), *model.guidance.parameters()]
    assert all(p.grad is not None and not p.grad.any() for p in parameters)
    assert {key.split(".")[0] for key in model.state_dict()} == {"student", "link_loss", "guidance"}


def test_it_compiles_whole_and_a_copy_has_a_recorder_of_its_own():
    model = LinkedStudent(student(depth=1), CHANNELS, guidance=dict(blocks=[1])).double()
    expected = model(IMAGES, levels())
    twin = copy.deepcopy(model)
    compiled = torch.compile(model, backend="eager", fullgraph=True)
    for found in (compiled(IMAGES, levels()), twin(IMAGES, levels())):
        torch.testing.assert_close(found, expected)
    found[2].backward()
    assert all(p.grad is None for p in model.parameters())


def test_a_student_in_bfloat16_learns_with_convolutions_in_float32():
    model = LinkedStudent(student().bfloat16(), CHANNELS, links=None, guidance=1.0)
    guidance = model(IMAGES.bfloat16(), [level.bfloat16() for level in levels()])[2]
    assert guidance.dtype == torch.float32
    guidance.backward()
    assert model.guidance.regressors[0].weight.grad.any()
    assert model.student.blocks[0].mlp.fc1.weight.grad.any()


def test_frozen_blocks_are_reported():
    model = LinkedStudent(student(), CHANNELS, links=None, guidance=1.0).double()
    model.student.requires_grad_(False)
    with pytest.warns(UserWarning, match="guided blocks of the student are frozen"):
        model(IMAGES, levels())


def test_it_draws_no_random_numbers_of_the_run_and_leaves_the_links_as_they_start():
    torch.manual_seed(5)
    expected = torch.rand(1)
    model = student()
    torch.manual_seed(5)
    guided = LinkedStudent(model, CHANNELS, guidance=1.0)
    assert torch.equal(torch.rand(1), expected)
    torch.manual_seed(5)
    linked = LinkedStudent(model, CHANNELS)
    for one, other in zip(guided.links.parameters(), linked.links.parameters(), strict=True):
        assert torch.equal(one, other)


def test_after_discard_nothing_is_recorded():
    model = LinkedStudent(student(), CHANNELS, guidance=1.0).double()
    with pytest.raises(AssertionError):  # timm's, of an image that it was not built for
        model(IMAGES[..., :8], levels())
    model.discard()
    model.student(IMAGES)
    for loss, words in ((model.link_loss, "blocks"), (model.guidance, "levels")):
        with pytest.raises(ValueError, match=rf"{words} \[1, 2, 3\] did not run"):
            loss(levels())
