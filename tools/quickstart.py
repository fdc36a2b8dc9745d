#!/usr/bin/env python
"""Train a CNN teacher, a plain ViT and the same ViT with AAL on the embedded shapes set.

`make quickstart` runs it. First the teacher, then the two students side by side. Finished parts
are kept in work_dirs/quickstart and not run again; `make clean-quickstart` forgets them.
"""

import json
import os
import re
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from mmengine.config import Config
from mmengine.runner import CheckpointLoader
from tqdm import tqdm

from aal_plugin.analysis import link_strength, plot_link_strength
from aal_plugin.mm.export import export_student

ROOT = Path(__file__).resolve().parents[1]


def main() -> None:
    os.chdir(ROOT)  # the configs name work_dirs/ from here
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    # Read before any thread starts: MMEngine's reader of configs is not made for threads.
    cfgs = {part: Config.fromfile(config_file(part)) for part in ("teacher", "plain", "aal")}
    results = {"teacher": run("teacher", cfgs["teacher"], cores)}
    students = ("plain", "aal")
    with ThreadPoolExecutor() as pool:
        each = max(1, cores // len(students))
        running = [
            pool.submit(run, part, cfgs[part], each, row) for row, part in enumerate(students)
        ]
        results.update((part, future.result()) for part, future in zip(students, running))
    print("\n")

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
    return f"configs/quickstart_{part}.py"


def run(part: str, cfg: Config, threads: int, row: int = 0) -> dict:
    """Train a part through tools/train.py, or answer with what it gave before."""
    done = Path(cfg.work_dir) / "result.json"
    if done.is_file():
        result = json.loads(done.read_text())
        if result["config"] == cfg.pretty_text:
            tqdm.write(f"{part}: kept from an earlier run")
            return result
    started = time.time()
    epochs = cfg.train_cfg.max_epochs
    result = dict(
        top1=train(part, Path(cfg.work_dir), epochs, threads, row),
        seconds=time.time() - started,
        checkpoint=f"{cfg.work_dir}/epoch_{epochs}.pth",
        config=cfg.pretty_text,
    )
    done.write_text(json.dumps(result))
    return result


def train(part: str, work_dir: Path, epochs: int, threads: int, row: int) -> float:
    """Run tools/train.py with its log in work_dir/train.log and a bar in `row`; the last top-1."""
    work_dir.mkdir(parents=True, exist_ok=True)
    log_file = work_dir / "train.log"
    command = [sys.executable, "-W", "ignore", "-u", "tools/train.py", config_file(part)]
    environment = dict(os.environ, PYTHONPATH=str(ROOT), OMP_NUM_THREADS=str(threads))
    top1 = float("nan")
    with (
        log_file.open("w") as log,
        subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, env=environment
        ) as process,
        tqdm(
            total=epochs,
            desc=f"{part:8}",
            position=row,
            bar_format="{desc}{percentage:3.0f}%|{bar:24}| {elapsed} < {remaining}{postfix}",
        ) as bar,
    ):
        for line in process.stdout:
            log.write(line)
            if step := re.search(r"Epoch\(train\) +\[(\d+)\]\[ *(\d+)/(\d+)\]", line):
                epoch, batch, batches = map(int, step.groups())
                bar.n = epoch - 1 + batch / batches
                bar.refresh()
            if value := re.search(r"accuracy/top1: ([\d.]+)", line):
                top1 = float(value.group(1))
                bar.set_postfix_str(f"top-1 {top1:.1f} %")
    if process.returncode:
        tail = "".join(log_file.read_text().splitlines(keepends=True)[-5:])
        sys.exit(f"{tail}\n{part} failed; the whole log is {log_file}")
    return top1


def draw_links(checkpoint: str, out: Path) -> None:
    saved = CheckpointLoader.load_checkpoint(checkpoint, map_location="cpu")
    strength = link_strength(saved["state_dict"], **saved["meta"]["attention_links"])
    plot_link_strength(strength, "trained links").savefig(out, dpi=150)


if __name__ == "__main__":
    main()
