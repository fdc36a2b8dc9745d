#!/usr/bin/env python
"""Train a CNN teacher, a plain ViT and the same ViT with AAL on the embedded shapes set.

    tools/quickstart.py

`make quickstart` runs it: first the teacher, then the two students side by side, all on CPU cores.
Results are written to work_dirs/quickstart in the current folder. Finished parts are not run again;
remove that folder (`make clean-quickstart`) to start over.
"""

import argparse
import sys
from pathlib import Path

from aal_plugin.files import configs_folder
from aal_plugin.process import plain_errors

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # tools.studies: the checkout alone


def main() -> None:
    argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    ).parse_args()
    # After the arguments: these take seconds.
    from mmengine.config import Config

    from aal_plugin.mm.export import export_student
    from tools.studies.trainings import Training, run_trainings

    train = Path(__file__).with_name("train.py")
    teacher, plain, aal = (
        Training(f"{part:8}", Config.fromfile(config_file(part)))
        for part in ("teacher", "plain", "aal")
    )
    results = dict(teacher=run_trainings([teacher], train, jobs=1)[0])
    results["plain"], results["aal"] = run_trainings([plain, aal], train, jobs=2)

    checkpoint = results["aal"]["checkpoint"]
    home = Path(checkpoint).parents[1]
    student, heatmap = home / "student.pth", home / "links.png"
    export_student(config_file("aal"), checkpoint, str(student))
    draw_links(checkpoint, heatmap)

    print(f"{'':8} {'top-1 %':>8} {'seconds':>8}")
    for part, result in results.items():
        print(f"{part:8} {result['top1']:8.1f} {result['seconds']:8.0f}")
    print("after 20 epochs; the plain ViT needs about 120 to reach 91 %, AAL 60 to reach 99 %")
    print(f"\ntrained links     {heatmap}\nexported student  {student}")
    print(f"report            {written_report(home)}")


def config_file(part: str) -> str:
    return str(configs_folder() / "shapes" / f"quickstart_{part}.py")


def draw_links(checkpoint: str, out: Path) -> None:
    from aal_plugin.analysis import link_growth, plot_link_strength
    from aal_plugin.analysis.links import GROWTH
    from aal_plugin.analysis.saved_links import read_links
    from aal_plugin.files import save_figure

    growth = link_growth(*read_links(checkpoint))
    save_figure(plot_link_strength(growth, "trained links", GROWTH), out, dpi=150)


def written_report(home: Path) -> str:
    from aal_plugin.report import write_report

    runs = [home / part for part in ("teacher", "plain", "aal")]
    write_report(runs, home / "report.html", title="Quickstart")
    return str(home / "report.html")


if __name__ == "__main__":
    with plain_errors():
        main()
