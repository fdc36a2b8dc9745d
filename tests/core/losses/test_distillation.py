import math

import pytest
import torch

from aal_plugin.core.losses.distillation import hard_distillation, soft_distillation


def logits():
    generator = torch.Generator().manual_seed(0)
    return torch.randn(2, 4, 7, generator=generator, dtype=torch.float64).unbind(0)


@pytest.mark.parametrize("temperature", [1.0, 3.0])
@pytest.mark.parametrize("reduction", ["batch", "elements"])
def test_soft_distillation_equals_the_sum_of_loops(temperature, reduction):
    student, teacher = logits()
    total = 0.0
    for z_s, z_t in zip(student, teacher):
        e_s = [math.exp(z / temperature) for z in z_s.tolist()]
        e_t = [math.exp(z / temperature) for z in z_t.tolist()]
        for a, b in zip(e_s, e_t):
            p_s, p_t = a / sum(e_s), b / sum(e_t)
            total += p_t * (math.log(p_t) - math.log(p_s))
    expected = temperature**2 * total / (4 if reduction == "batch" else 4 * 7)
    got = soft_distillation(student, teacher, temperature, reduction)
    assert got.item() == pytest.approx(expected)


def test_another_reduction_is_an_error():
    with pytest.raises(ValueError, match=r"reduction='sum'; choose one of \['batch', 'elements'\]"):
        soft_distillation(*logits(), 2.0, "sum")


def test_hard_distillation_equals_cross_entropy_against_the_argmax_by_loops():
    student, teacher = logits()
    total = 0.0
    for z_s, z_t in zip(student.tolist(), teacher.tolist()):
        total -= z_s[z_t.index(max(z_t))] - math.log(sum(math.exp(z) for z in z_s))
    assert hard_distillation(student, teacher).item() == pytest.approx(total / len(student))


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
