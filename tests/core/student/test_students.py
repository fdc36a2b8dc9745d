"""timm's and Hugging Face's students: maps, a training step, and their row in docs/students.md."""

import pytest

from . import hugging_face_students, timm_students
from .students import PAGE, check


@pytest.mark.parametrize("student", timm_students.STUDENTS, ids=lambda student: student.name)
def test_maps_are_the_blocks_own_and_a_step_trains_them(student):
    assert check(student) in PAGE.read_text(encoding="utf-8")


@pytest.mark.parametrize(
    "student", hugging_face_students.STUDENTS, ids=lambda student: student.name
)
def test_hugging_faces_maps_are_the_blocks_own_too(student):
    pytest.importorskip("transformers")
    assert check(student) in PAGE.read_text(encoding="utf-8")
