"""Writes the table of docs/students.md from what the tests see.

Run: python -m tests.core.student.students_table
"""

from tests.mm.models.mmpretrain_students import STUDENTS as MMPRETRAIN

from .hugging_face_students import STUDENTS as HUGGING_FACE
from .students import HEADER, PAGE, check
from .timm_students import STUDENTS as TIMM

START, END = "<!-- rows: tests/core/student/students_table.py -->", "<!-- end of rows -->"


def rows_of(page: str) -> list[str]:
    """The rows between the markers, without the header."""
    return page.partition(START)[2].partition(END)[0].strip().split("\n")[2:]


def main() -> None:
    rows = [check(student) for student in [*TIMM, *HUGGING_FACE, *MMPRETRAIN]]
    before, _, rest = PAGE.read_text(encoding="utf-8").partition(START)
    after = rest.partition(END)[2]
    table = "\n".join([HEADER, *rows])
    PAGE.write_text(f"{before}{START}\n{table}\n{END}{after}", encoding="utf-8")


if __name__ == "__main__":
    main()
