"""The one loss object: its distance against the paper's equations, and that any loop can use it."""

import copy

import pytest
import timm
import torch
import torch.nn.functional as F
from torch import nn

from aal_plugin.core import AttentionLinkLoss, LinkedStudent, TimmTeacher, link_weight

from .student.attention_loops import class_row, full_attention

IMAGES = torch.randn(3, 3, 24, 16, generator=torch.Generator().manual_seed(0)).double()


def student():
    torch.manual_seed(1)
    return timm.create_model(
        "vit_tiny_patch16_224",
        img_size=(24, 16),
        patch_size=8,
        embed_dim=12,
        depth=2,
        num_heads=3,
        num_classes=5,
    ).double()


def levels(batch=3):
    generator = torch.Generator().manual_seed(2)
    return [
        torch.rand(batch, 4, 6, 4, generator=generator).double(),
        torch.rand(batch, 7, 3, 2, generator=generator).double(),
    ]


def distance_by_loops(model, weights, activations):
    """L_att, channel by channel (AAL, Eq. 3 to 5), from the blocks' own inputs."""
    inputs = []
    handles = [
        block.attn.register_forward_hook(lambda module, given, out: inputs.append(given[0]))
        for block in model.blocks
    ]
    model(IMAGES)
    for handle in handles:
        handle.remove()
    maps = []
    for block, tokens in zip(model.blocks, inputs):
        query, key, _ = block.attn.qkv(tokens).unflatten(-1, (3, 3, 4)).unbind(2)
        rows = [
            class_row(full_attention(query[i], key[i], block.attn.scale), 1, (3, 2))
            for i in range(3)
        ]
        maps.append(torch.stack(rows))
    maps = torch.cat(maps, dim=1)  # (B, 6, 3, 2)
    total, count = 0.0, 0
    for (weight, bias), level in zip(weights, activations):
        level = F.interpolate(level, size=(3, 2), mode="bicubic", align_corners=False)
        for image in range(3):
            for channel in range(level.shape[1]):
                augmented = bias[channel] + sum(
                    weight[channel, m, 0, 0] * maps[image, m] for m in range(6)
                )
                gap = (
                    augmented / augmented.norm()
                    - level[image, channel] / level[image, channel].norm()
                )
                total, count = total + gap.square().sum(), count + gap.numel()
    return total / count


def test_distance_is_the_papers_and_the_output_is_the_students():
    model = student()
    linked = LinkedStudent(copy.deepcopy(model), channels=[4, 7]).double()
    for parameter in linked.links.parameters():
        nn.init.normal_(parameter, generator=torch.Generator().manual_seed(3))
    output, distance = linked(IMAGES, levels())
    torch.testing.assert_close(output, model(IMAGES), rtol=0, atol=0)
    weights = [(link.weight, link.bias) for link in linked.links]
    torch.testing.assert_close(
        distance, distance_by_loops(model, weights, levels()), rtol=1e-9, atol=1e-12
    )


def test_the_loss_alone_is_what_the_linked_student_returns():
    """A student that someone else calls, as MMPretrain's classifier does."""
    linked = LinkedStudent(student(), channels=[4, 7], links=[(1, 1), (1, 2)]).double()
    alone = AttentionLinkLoss(linked.student, [4, 7], links=[(1, 1), (1, 2)]).double()
    alone.links.load_state_dict(linked.links.state_dict())
    assert not [name for name, _ in alone.named_parameters() if not name.startswith("links.")]
    alone.start(IMAGES.shape[-2:])
    linked.student(IMAGES)
    torch.testing.assert_close(alone(levels()), linked(IMAGES, levels())[1], rtol=0, atol=0)


def test_without_activations_nothing_is_recorded_and_the_links_get_zero_gradients():
    linked = LinkedStudent(student(), channels=[4, 7]).double()
    linked.recorder.start = None  # a call would fail
    output, distance = linked(IMAGES)
    (output.sum() + distance).backward()
    assert distance == 0
    assert all(p.grad is not None and not p.grad.any() for p in linked.links.parameters())


@pytest.mark.parametrize(
    ("links", "frozen", "warns"),
    [
        ("full", ["blocks.0", "blocks.1", "patch_embed", "cls_token", "pos_embed"], True),
        ("full", ["blocks.0", "patch_embed", "cls_token", "pos_embed"], False),
        ([(1, 1)], ["blocks.0", "patch_embed", "cls_token", "pos_embed"], True),
        ([(1, 1)], ["blocks.0", "patch_embed", "pos_embed"], False),  # the class token learns
    ],
)
def test_frozen_blocks_are_reported_where_the_links_alone_can_learn(links, frozen, warns):
    model = student()
    for name, parameter in model.named_parameters():
        parameter.requires_grad = not name.startswith(tuple(frozen))
    loss = AttentionLinkLoss(model, [4], links=links).double()

    def distance():
        loss.start((24, 16))
        model(IMAGES)
        return loss(levels()[:1])

    model.eval()
    with torch.no_grad():
        distance()  # nothing learns here anyway
    model.train()
    if warns:
        with pytest.warns(UserWarning, match="blocks of the student are frozen .* its links only"):
            distance().backward()
    else:
        distance().backward()  # the suite makes any warning an error
    assert all(p.grad.any() for p in loss.links.parameters() if p.dim() > 1)
    grads = [p.grad for p in model.parameters() if p.grad is not None]
    assert any(grad.any() for grad in grads) != warns


def test_maps_larger_than_the_images_are_rejected():
    """A grid of 4000×4000 would fill the memory, with copies of a few positions."""
    with pytest.raises(
        ValueError, match=r"map_size=\(4000, 4000\) is larger than the images of 24×16"
    ):
        AttentionLinkLoss(student(), [4], map_size=4000)
    with pytest.raises(ValueError, match=r"map_size=\(2, 17\) is larger .* 24×16 pixels; choose"):
        AttentionLinkLoss(student(), [4], map_size=(2, 17))
    loss = AttentionLinkLoss(student(), [4], map_size=(24, 16))
    loss.start((24, 16))
    with pytest.raises(ValueError, match="larger than the images of 16×16 pixels"):
        loss.start((16, 16))


def test_a_plain_loop_teaches_student_and_links():
    """Ten lines of a loop of one's own: the distance falls, and nothing else is needed."""
    torch.manual_seed(7)
    model = timm.create_model("test_vit", img_size=32, num_classes=5)
    teacher = TimmTeacher("test_resnet", allow_random_weights=True)
    teacher.match_input(mean=[127.5] * 3, std=[127.5] * 3, rgb=True)
    linked = LinkedStudent(model, teacher.channels, links="alpha")
    optimizer = torch.optim.AdamW(linked.parameters(), lr=1e-2)
    images, labels = torch.randn(8, 3, 32, 32), torch.arange(8) % 5
    distances = []
    for epoch in range(12):
        activations, _ = teacher(images)
        logits, distance = linked(images, activations)
        loss = F.cross_entropy(logits, labels) + link_weight(epoch, 2000.0, 0.99) * distance
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        distances.append(distance.item())
    assert distances[-1] < 0.95 * distances[0]
    assert model.blocks[0].attn.qkv.weight.grad.abs().sum() > 0
