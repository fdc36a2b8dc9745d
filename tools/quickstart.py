#!/usr/bin/env python
"""Train a CNN teacher, a plain ViT and the same ViT with AAL on the embedded shapes set.

`make quickstart` runs it. First the teacher, then the two students side by side. Finished parts
are kept in work_dirs/quickstart and not run again; `make clean-quickstart` forgets them.
"""

import os
from pathlib import Path

from mmengine.config import Config
from mmengine.runner import CheckpointLoader

from aal_plugin.analysis import link_strength, plot_link_strength
from aal_plugin.mm.checkpoints.export import export_student
from aal_plugin.mm.runtime.trials import Trial, run_trials
from aal_plugin.plain_errors import plain_errors
from aal_plugin.whole_files import save_figure

ROOT = Path(__file__).resolve().parents[1]


def main() -> None:
    os.chdir(ROOT)  # the configs name work_dirs/ from here
    train = Path("tools/train.py")
    teacher, plain, aal = (
        Trial(f"{part:8}", Config.fromfile(config_file(part)))
        for part in ("teacher", "plain", "aal")
    )
    results = dict(teacher=run_trials([teacher], train, jobs=1)[0])
    results["plain"], results["aal"] = run_trials([plain, aal], train, jobs=2)

    checkpoint = results["aal"]["checkpoint"]
    home = Path(checkpoint).parents[1]
    student, heatmap = home / "student.pth", home / "links.png"
    export_student(config_file("aal"), checkpoint, str(student))
    draw_links(checkpoint, heatmap)

    print(f"{'':8} {'top-1 %':>8} {'seconds':>8}")
    for part, result in results.items():
        print(f"{part:8} {result['top1']:8.1f} {result['seconds']:8.0f}")
    print(f"\ntrained links     {heatmap}\nexported student  {student}")


def config_file(part: str) -> str:
    return f"configs/shapes/quickstart_{part}.py"


def draw_links(checkpoint: str, out: Path) -> None:
    saved = CheckpointLoader.load_checkpoint(checkpoint, map_location="cpu")
    strength = link_strength(saved["state_dict"], **saved["meta"]["attention_links"])
    save_figure(plot_link_strength(strength, "trained links"), out, dpi=150)


if __name__ == "__main__":
    with plain_errors():
        main()
