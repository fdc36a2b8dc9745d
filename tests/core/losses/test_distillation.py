import math

import pytest
import torch

from aal_plugin.core.losses.distillation import hard_distillation, soft_distillation


def logits(batch=4, classes=7):
    generator = torch.Generator().manual_seed(0)
    return torch.randn(2, batch, classes, generator=generator, dtype=torch.float64).unbind(0)


@pytest.mark.parametrize("temperature", [1.0, 3.0])
def test_soft_distillation_equals_the_sum_of_loops(temperature):
    student, teacher = logits()
    total = 0.0
    for z_s, z_t in zip(student, teacher):
        e_s = [math.exp(z / temperature) for z in z_s.tolist()]
        e_t = [math.exp(z / temperature) for z in z_t.tolist()]
        for a, b in zip(e_s, e_t):
            p_s, p_t = a / sum(e_s), b / sum(e_t)
            total += p_t * (math.log(p_t) - math.log(p_s))
    expected = temperature**2 * total / len(student)
    assert soft_distillation(student, teacher, temperature).item() == pytest.approx(expected)


def test_by_elements_the_sum_is_divided_by_batch_times_classes():
    student, teacher = logits(batch=3, classes=5)
    total = 0.0
    for z_s, z_t in zip(student.tolist(), teacher.tolist()):
        norm_s, norm_t = (math.log(sum(math.exp(z / 2) for z in row)) for row in (z_s, z_t))
        for a, b in zip(z_s, z_t):
            total += math.exp(b / 2 - norm_t) * ((b / 2 - norm_t) - (a / 2 - norm_s))
    got = soft_distillation(student, teacher, 2.0, "elements")
    assert got.item() == pytest.approx(4 * total / (3 * 5))
    with pytest.raises(ValueError, match=r"reduction='sum'; choose one of \['batch', 'elements'\]"):
        soft_distillation(student, teacher, 2.0, "sum")


def test_hard_distillation_equals_cross_entropy_against_the_argmax_by_loops():
    student, teacher = logits()
    total = 0.0
    for z_s, z_t in zip(student.tolist(), teacher.tolist()):
        total -= z_s[z_t.index(max(z_t))] - math.log(sum(math.exp(z) for z in z_s))
    assert hard_distillation(student, teacher).item() == pytest.approx(total / len(student))


def test_soft_distillation_does_not_shrink_with_the_number_of_classes():
    student, teacher = logits(classes=8)
    # Every class split into a hundred alike: the distributions differ by as much as before.
    split = [z.repeat_interleave(100, dim=1) for z in (student, teacher)]
    torch.testing.assert_close(
        soft_distillation(*split, 1.0), soft_distillation(student, teacher, 1.0)
    )


def test_size_of_the_gradient_does_not_depend_on_the_temperature():
    student, teacher = (1e-2 * z for z in logits())
    sizes = []
    for temperature in (1.0, 10.0):
        student = student.detach().requires_grad_()
        soft_distillation(student, teacher, temperature).backward()
        sizes.append(student.grad.norm().item())
    assert sizes[0] == pytest.approx(sizes[1], rel=0.05)


def test_equal_logits_have_nothing_to_distil_and_half_precision_is_widened():
    student, _ = logits()
    assert soft_distillation(student, student, 2.0).item() == pytest.approx(0.0, abs=1e-12)
    assert soft_distillation(student.half(), student.half(), 2.0).dtype == torch.float32
    assert hard_distillation(student.half(), student.half()).dtype == torch.float32


def test_gradients_are_those_of_finite_differences():
    student, teacher = logits()
    student.requires_grad_()
    assert torch.autograd.gradcheck(lambda z: soft_distillation(z, teacher, 3.0), student)
    assert torch.autograd.gradcheck(lambda z: hard_distillation(z, teacher), student)
