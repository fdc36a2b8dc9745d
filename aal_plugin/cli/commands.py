"""The commands of `aal`, each with the tool that it runs."""

from __future__ import annotations

from typing import NamedTuple


class Command(NamedTuple):
    """A tool below tools/, what it does, and a command line that works."""

    tool: str
    summary: str
    example: str


COMMANDS = {
    "train": Command(
        "train.py",
        "train from a config",
        "aal train shapes/quickstart_plain.py --work-dir runs/plain",
    ),
    "dist-train": Command(
        "dist_train.sh",
        "train on several GPUs, or on several CPU processes",
        "aal dist-train aal_deit-s_in1k-5pct.py 8 --work-dir runs/aal",
    ),
    "slurm-train": Command(
        "slurm_train.sh",
        "train as a Slurm job",
        "GPUS=8 aal slurm-train PARTITION JOB_NAME aal_deit-s_in1k-5pct.py runs/aal",
    ),
    "test": Command(
        "test.py",
        "test a checkpoint",
        "aal test shapes/quickstart_plain.py runs/plain/epoch_20.pth",
    ),
    "dist-test": Command(
        "dist_test.sh",
        "test a checkpoint on several GPUs",
        "aal dist-test aal_deit-s_in1k-5pct.py runs/aal/epoch_300.pth 8",
    ),
    "timm-train": Command(
        "timm_train.py",
        "train with timm's own train.py",
        "aal timm-train train.py DATA --model deit_small_patch16_224 "
        "--aal-teacher efficientnet_b3 --aal-teacher-pretrained",
    ),
    "export": Command(
        "export_student.py",
        "turn an AAL checkpoint into one of a plain ImageClassifier",
        "aal export aal_deit-s_in1k-5pct.py runs/aal/epoch_300.pth deit-s.pth",
    ),
    "subset": Command(
        "make_subset.py",
        "list the images of a class-balanced subset",
        "aal subset data/imagenet/train data/imagenet/meta/train_5pct.txt --fraction 0.05",
    ),
    "compare": Command(
        "compare.py",
        "train configs with several seeds, print their top-1",
        "aal compare shapes/quickstart_plain.py shapes/quickstart_aal.py --seeds 0 1 2",
    ),
    "results": Command(
        "results.py",
        "write the tables and figures of studies into Markdown pages",
        "aal results report.md --studies studies --images images",
    ),
    "quickstart": Command(
        "quickstart.py",
        "train a CNN, a plain ViT and the same ViT with AAL, in minutes on a CPU",
        "aal quickstart",
    ),
    "benchmark": Command(
        "benchmark.py",
        "measure the cost of AAL's training step",
        "aal benchmark --batch 16 --json benchmark.json",
    ),
    "gpu": Command(
        "gpu.py",
        "run all measurements that need a GPU",
        "aal gpu --only kernels,input",
    ),
    "report": Command(
        "report.py",
        "write a page about training runs",
        "aal report runs/plain runs/aal report.html",
    ),
    "curves": Command(
        "analysis/compare_runs.py",
        "draw the learning curves of runs",
        "aal curves plain=runs/plain aal=runs/aal curves.png",
    ),
    "agreement": Command(
        "analysis/agreement.py",
        "draw how often checkpoints disagree",
        "aal agreement agreement.png plain.py plain.pth aal.py aal.pth",
    ),
    "links plot": Command(
        "analysis/plot_links.py",
        "draw the trained links of checkpoints",
        "aal links plot runs/aal/epoch_300.pth links.png",
    ),
    "links select": Command(
        "analysis/select_links.py",
        "choose selective links from trained full links",
        "aal links select runs/full/epoch_300.pth --keep 0.8 --base mine.py --out selected.py",
    ),
    "links epochs": Command(
        "analysis/links_over_epochs.py",
        "draw how the links changed during a run",
        "aal links epochs runs/aal links.gif",
    ),
    "attention show": Command(
        "analysis/show_attention.py",
        "draw a student's attention, one sheet per image",
        "aal attention show mine.py runs/aal/epoch_300.pth --count 4",
    ),
    "attention compare": Command(
        "analysis/compare_attention.py",
        "draw the attention of several students on the same images",
        "aal attention compare both.png --student plain plain.py plain.pth "
        "--student AAL aal.py aal.pth",
    ),
}
OWN = {
    "configs": "list the configs; --path prints their folder",
    "copy": "copy a config into a folder of yours",
}


def overview(first: str = "") -> str:
    """The lines of --help: all commands, or those whose first word is `first`."""
    rows = {name: command.summary for name, command in COMMANDS.items()}
    rows = {**OWN, **rows}
    if first:
        rows = {name: summary for name, summary in rows.items() if name.split()[0] == first}
    width = max(map(len, rows))
    return "\n".join(f"  {name:{width}}  {summary}" for name, summary in rows.items())
