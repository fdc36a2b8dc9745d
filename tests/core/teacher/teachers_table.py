"""Writes the table of docs/teachers.md from the levels that teachers have.

Run: python -m tests.core.teacher.teachers_table
"""

from itertools import groupby
from pathlib import Path
from typing import NamedTuple

import torch
from mmpretrain.registry import MODELS

import aal_plugin.mm  # noqa: F401
from aal_plugin.core import FrozenTeacher, TimmTeacher

PAGE = Path(__file__).parents[3] / "docs" / "teachers.md"
START, END = "<!-- rows: tests/core/teacher/teachers_table.py -->", "<!-- end of rows -->"
HEADER = "| Teacher | Example | Images | Levels | Channels | Grids |\n|---|---|---|---|---|---|"


class Row(NamedTuple):
    """A teacher of the table: a timm name, or a name of MMPretrain's zoo, and its settings."""

    family: str
    name: str
    settings: dict = {}
    zoo: bool = False


ROWS = [
    Row("EfficientNet", "efficientnet_b3"),
    Row("ResNet", "resnet34"),
    Row("ConvNeXt", "convnext_tiny"),
    Row("HRNet", "hrnet_w18_small"),
    Row("DINOv2", "vit_small_patch14_dinov2", dict(img_size=224)),
    Row("DINOv2 with registers", "vit_small_patch14_reg4_dinov2", dict(img_size=224)),
    Row("DINOv3 ViT", "vit_small_patch16_dinov3"),
    Row("DINOv3 ConvNeXt", "convnext_tiny.dinov3_lvd1689m"),
    Row("SigLIP", "vit_base_patch16_siglip_224"),
    Row("CLIP ViT", "vit_base_patch16_clip_224"),
    Row("EVA-02", "eva02_small_patch14_224"),
    Row("DeiT-III", "deit3_small_patch16_224"),
    Row("BEiT v2", "beitv2_base_patch16_224"),
    Row("Swin", "swin_tiny_patch4_window7_224"),
    Row("Swin v2", "swinv2_tiny_window8_256"),
    Row("PiT", "pit_s_224"),
    Row("PVT v2", "pvt_v2_b1"),
    Row("MViT v2", "mvitv2_tiny"),
    Row("Hiera", "hiera_tiny_224", dict(features_only=True)),
    Row("MMPretrain ResNet", "resnet34_8xb32_in1k", zoo=True),
    Row("MMPretrain DeiT", "deit-tiny_4xb256_in1k", zoo=True),
    Row("MMPretrain Swin", "swin-tiny_16xb64_in1k", zoo=True),
]


def teacher_of(row: Row) -> FrozenTeacher:
    """The teacher of a row, without weights: its levels do not depend on them."""
    if row.zoo:
        return MODELS.build(
            dict(type="MMTeacher", config=row.name, allow_random_weights=True, fold_norms=False)
        )
    with torch.device("meta"):
        return TimmTeacher(row.name, allow_random_weights=True, fold_norms=False, **row.settings)


def line_of(row: Row) -> str:
    """A row of the table, as the teacher runs on one image of its own size."""
    teacher = teacher_of(row)
    images = teacher._blank()
    maps, _ = teacher(images)
    settings = "".join(f", {key}={value}" for key, value in row.settings.items())
    layers = [f"`{layer}`" for layer in teacher.layers]
    grids = [f"{level.shape[-2]}×{level.shape[-1]}" for level in maps]
    cells = [
        row.family,
        f"`{row.name}`{settings}",
        f"{images.shape[-1]} px",
        ", ".join(layers),
        _counted(teacher.channels),
        _counted(grids),
    ]
    return f"| {' | '.join(cells)} |"


def _counted(values: list) -> str:
    """Neighbours that are equal as one, with their number."""
    runs = [(value, len(list(run))) for value, run in groupby(values)]
    return ", ".join(f"{value}" if count == 1 else f"{value} ({count})" for value, count in runs)


def rows_of(page: str) -> list[str]:
    """The rows between the markers, without the header."""
    return page.partition(START)[2].partition(END)[0].strip().split("\n")[2:]


def main() -> None:
    """Write the table."""
    before, _, rest = PAGE.read_text(encoding="utf-8").partition(START)
    table = "\n".join([HEADER, *(line_of(row) for row in ROWS)])
    PAGE.write_text(f"{before}{START}\n{table}\n{END}{rest.partition(END)[2]}", encoding="utf-8")


if __name__ == "__main__":
    main()
