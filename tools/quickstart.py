#!/usr/bin/env python
"""Train a CNN teacher, a plain ViT and the same ViT with AAL on the embedded shapes set.

`make quickstart` runs it. Finished parts are kept in work_dirs/quickstart and not run again;
`make clean-quickstart` forgets them.
"""

import json
import os
import re
import subprocess
import sys
import time
from pathlib import Path
from typing import Dict, List

import torch
from mmengine.config import Config
from tqdm import tqdm

from aal_plugin.analysis import link_strength, plot_link_strength
from aal_plugin.mm.export import export_student

ROOT = Path(__file__).resolve().parents[1]
PARTS = ("teacher", "plain", "aal")


def main() -> None:
    os.chdir(ROOT)  # the configs name work_dirs/ from here
    results = {part: run(part, f"[{i}/{len(PARTS)}] {part}") for i, part in enumerate(PARTS, 1)}
    home = Path(results["aal"]["work_dir"]).parent
    checkpoint = results["aal"]["checkpoint"]
    student = home / "student.pth"
    export_student(config_file("aal"), checkpoint, str(student))
    heatmap = home / "links.png"
    draw_links(checkpoint, heatmap)

    print(f"\n{'':8} {'top-1 %':>8} {'seconds':>8}")
    for part, result in results.items():
        print(f"{part:8} {result['top1']:8.1f} {result['seconds']:8.0f}")
    print(f"\ntrained links     {heatmap}\nexported student  {student}")


def config_file(part: str) -> str:
    return f"configs/quickstart_{part}.py"


def run(part: str, title: str) -> Dict:
    """Train one part through tools/train.py, or answer with what it gave before."""
    cfg = Config.fromfile(config_file(part))
    done = Path(cfg.work_dir) / "result.json"
    if done.is_file():
        result = json.loads(done.read_text())
        if result["config"] == cfg.pretty_text:
            print(f"{title}: kept from an earlier run")
            return result
    started = time.time()
    top1 = train(config_file(part), Path(cfg.work_dir), cfg.train_cfg.max_epochs, title)
    result = dict(
        top1=top1,
        seconds=time.time() - started,
        work_dir=cfg.work_dir,
        checkpoint=f"{cfg.work_dir}/epoch_{cfg.train_cfg.max_epochs}.pth",
        config=cfg.pretty_text,
    )
    done.write_text(json.dumps(result))
    return result


def train(config: str, work_dir: Path, epochs: int, title: str) -> float:
    """Run tools/train.py with its log in work_dir/train.log, show a bar, answer with the top-1."""
    work_dir.mkdir(parents=True, exist_ok=True)
    command = [sys.executable, "-W", "ignore", "-u", "tools/train.py", config]
    environment = dict(os.environ, PYTHONPATH=str(ROOT), PYTHONWARNINGS="ignore")
    lines: List[str] = []
    top1 = float("nan")
    with (
        (work_dir / "train.log").open("w") as log,
        subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment) as process,
        tqdm(total=epochs, desc=title, unit="epoch", mininterval=0.5) as bar,
    ):
        for line in process.stdout:
            log.write(line)
            lines.append(line)
            if step := re.search(r"Epoch\(train\) +\[(\d+)\]\[ *(\d+)/(\d+)\]", line):
                epoch, batch, batches = map(int, step.groups())
                bar.n = round(epoch - 1 + batch / batches, 2)
                bar.refresh()
            if value := re.search(r"accuracy/top1: ([\d.]+)", line):
                top1 = float(value.group(1))
                bar.set_postfix_str(f"top-1 {top1:.1f} %")
    if process.returncode:
        sys.exit("".join(lines[-5:]) + f"{title} failed; its whole log is {work_dir}/train.log")
    return top1


def draw_links(checkpoint: str, out: Path) -> None:
    saved = torch.load(checkpoint, map_location="cpu", weights_only=True)
    strength = link_strength(saved["state_dict"], **saved["meta"]["attention_links"])
    plot_link_strength(strength, "trained links").savefig(out, dpi=150)


if __name__ == "__main__":
    main()
