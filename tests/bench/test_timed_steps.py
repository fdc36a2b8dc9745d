import copy
import statistics
from functools import partial

import pytest
import torch

from tools.bench.counting import count, counts
from tools.bench.setting import Setting
from tools.bench.straightforward import (
    StraightforwardTeacher,
    full_attention,
    straightforward_distance,
)
from tools.bench.timed_steps import TimedSteps

SMALL = dict(student="test_vit", teacher="test_resnet", batch=2, size=64, classes=5)


def test_straightforward_aal_has_the_loss_of_ours():
    made = TimedSteps(Setting(**SMALL, links="alpha"))
    student = made.student.eval()
    teacher = StraightforwardTeacher(
        copy.deepcopy(made.best_teacher.model), made.best_teacher.layers
    )
    made.recorder.start((64, 64))
    expected_logits = student(made.images)
    expected = made.links.distance(made.recorder.stop(), made.best_teacher(made.images)[0])
    with full_attention(student) as attention:
        logits = student(made.images)
    grid = tuple(64 // side for side in student.patch_embed.patch_size)
    got = straightforward_distance(
        made.links, attention, teacher(made.images), grid, student.num_prefix_tokens
    )
    torch.testing.assert_close(got, expected, rtol=1e-4, atol=0)
    torch.testing.assert_close(logits, expected_logits)
    assert all(block.attn.fused_attn for block in student.blocks)


def test_every_step_trains_the_student_and_a_forward_pass_does_not():
    made = TimedSteps(Setting(**SMALL))
    makers = dict(
        plain=made.plain,
        aal=made.aal,
        straightforward=made.straightforward,
        logit=lambda: made.timm_task("logit"),
        feature=lambda: made.timm_task("feature"),
        **made.without(),
    )
    for name, make in makers.items():
        before = made.student.blocks[0].attn.qkv.weight.clone()
        make()()
        assert not torch.equal(made.student.blocks[0].attn.qkv.weight, before), name
    before = copy.deepcopy(made.student.state_dict())
    for make in (made.peers_teacher, *made.parts().values()):
        make()()
    assert all(torch.equal(value, before[key]) for key, value in made.student.state_dict().items())


def test_variants_of_aal_have_its_gradients():
    """An option that is off changes the cost alone."""
    gradients = []
    for variant in (None, "all maps in memory", "teacher after student"):
        made = TimedSteps(Setting(**SMALL))
        step = made.without()[f"aal step: {variant}"]() if variant else made.aal()
        step()
        gradients.append(made.links[0].weight.grad)
    for other in gradients[1:]:
        torch.testing.assert_close(other, gradients[0], rtol=1e-3, atol=1e-3)


def test_compiled_step_is_a_graph_of_the_teacher_and_one_of_all_else(monkeypatch):
    graphs = []

    def backend(graph, inputs):
        graphs.append(graph)
        return graph.forward

    whole = partial(torch.compile, backend=backend, fullgraph=True)  # raises where a graph breaks
    monkeypatch.setattr(torch, "compile", whole)
    step = TimedSteps(Setting(**SMALL, compile=True)).aal()
    step()
    step()
    assert len(graphs) == 2


def test_counts_grow_with_the_batch_and_are_those_of_a_run():
    found = counts(Setting(**dict(SMALL, batch=5)))
    made = TimedSteps(Setting(**dict(SMALL, batch=5)))
    for name, step in (
        ("links and distance", made.links_alone()),
        ("teacher forward", made.teacher()),
    ):
        step()
        assert count(step) == found[name], name


def test_ours_moves_less_than_all_maps_in_memory():
    """On a student's real grid (14×14); ours adds a fixed cost that tiny grids do not repay."""
    found = counts(Setting(**dict(SMALL, batch=16, size=224)))
    ours, plain = (found["links and distance" + ending] for ending in ("", ": all maps in memory"))
    assert ours.bytes < plain.bytes / 2


def test_what_cannot_be_measured_is_told_the_choices(monkeypatch):
    with pytest.raises(ValueError, match="--dtype int8; choose float32, bfloat16 or float16"):
        Setting(dtype="int8")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(ValueError, match="--device cuda: no CUDA device was found; choose cpu"):
        Setting(device="cuda")


def test_work_of_the_links_is_a_straight_line_over_their_count():
    weights, moved = [], []
    for last in (1, 2, 3, 4):
        made = TimedSteps(Setting(**SMALL, links=[(1, last)] * 4))
        step = made.links_alone()
        step()
        weights.append(sum(link.weight.numel() for link in made.links))
        moved.append(count(step).bytes)
    assert moved == sorted(moved) and statistics.correlation(weights, moved) > 0.999
