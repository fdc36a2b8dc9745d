"""MMPretrain's students: maps, a training step, and their row in docs/students.md."""

import pytest
import torch

from aal_plugin.core import AttentionRecorder
from tests.core.student.hugging_face_students import STUDENTS as HUGGING_FACE
from tests.core.student.students import PAGE, check
from tests.core.student.students_table import rows_of
from tests.core.student.timm_students import STUDENTS as TIMM

from .mmpretrain_students import STUDENTS, VIT, built


@pytest.mark.parametrize("student", STUDENTS, ids=lambda student: student.name)
def test_maps_are_the_blocks_own_and_a_step_trains_them(student):
    if "HuggingFace" in student.name:
        pytest.importorskip("transformers")
    assert check(student) in PAGE.read_text(encoding="utf-8")


def test_the_page_has_a_row_for_every_student_and_no_other():
    rows = [tuple(row.split(" | ")[:2]) for row in rows_of(PAGE.read_text(encoding="utf-8"))]
    students = [*TIMM, *HUGGING_FACE, *STUDENTS]
    assert rows == [(f"| {student.family}", student.name) for student in students]


def test_reversible_blocks_without_gradients_are_an_error_that_names_the_setting():
    model = built(type="RevVisionTransformer", **VIT)()
    model.train()
    recorder = AttentionRecorder(model)
    recorder.start((24, 16))
    with pytest.raises(ValueError, match="block 1 ran without gradients.*no_custom_backward=True"):
        model(torch.randn(1, 3, 24, 16))
