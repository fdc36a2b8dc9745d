#!/usr/bin/env python
"""Everything that only a GPU can show, in one command: tests, costs, input, a study.

    tools/gpu.py                          # on a machine with CUDA, about 25 minutes
    tools/gpu.py --only kernels,input     # some parts
    tools/gpu.py --device cpu --toy       # a trial of the code on a CPU; its figures mean nothing

Needs torch and timm alone, and pytest for the tests. Each part's result is written as soon as it
is done; the same command again runs the parts that are missing or have failed.
"""

import argparse
import json
import signal
import sys
import warnings
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
if (ROOT / "aal_plugin").is_dir():  # a checkout that is not installed
    sys.path.insert(0, str(ROOT))
warnings.filterwarnings("ignore", message="aal_plugin|Fail to import")

import torch  # noqa: E402

from aal_plugin.bench.gpu.goals import as_text, judge  # noqa: E402
from aal_plugin.bench.gpu.parts import PARTS, run_part  # noqa: E402
from aal_plugin.bench.gpu.processes import Place  # noqa: E402
from aal_plugin.bench.gpu.results import file_of, machine, read_result  # noqa: E402
from aal_plugin.bench.gpu.running import Runner  # noqa: E402
from aal_plugin.bench.gpu.scale import Scale, toy  # noqa: E402
from aal_plugin.files import write_whole  # noqa: E402
from aal_plugin.process import plain_errors  # noqa: E402


def main() -> int:
    args = parse_args()
    chosen = chosen_parts(args.only)
    scale = toy(args.device) if args.toy else Scale(device=args.device)
    check_device(args.device, args.toy)
    place = Place(ROOT, args.work)
    if args.part:
        return 0 if run_part(args.part, args.out, scale, place) else 1
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that the part is ended too
    if args.again:
        for name in chosen:
            file_of(args.out, name).unlink(missing_ok=True)

    def command(name: str) -> list[str]:
        toy_option = ["--toy"] if args.toy else []
        options = [f"--device={args.device}", f"--out={args.out}", f"--work={args.work}"]
        return [sys.executable, "-W", "ignore", __file__, "--part", name, *options, *toy_option]

    runner = Runner(args.out, args.work / "logs", scale, command, args.minutes)
    states = runner.run({name: PARTS[name].seconds for name in chosen})
    found = {name: read_result(args.out, name, scale) for name in PARTS}
    results = {name: row["result"] for name, row in found.items() if row and row["result"]}
    rows = judge(results)
    summary = dict(
        machine=machine(args.device),
        seconds={name: row["seconds"] for name, row in found.items() if row},
        states={name: row["state"] if row else "missing" for name, row in found.items()},
        goals=rows,
        top1={name: row["top1"] for name, row in results.items() if "top1" in row},
    )
    args.out.mkdir(parents=True, exist_ok=True)
    write_whole(args.out / "summary.json", json.dumps(summary, indent=1) + "\n")
    meaning = "; a toy's figures mean nothing" if args.toy else ""
    print(f"\n{as_text(rows, results)}\n\nresults in {args.out}{meaning}")
    return 0 if all(state.startswith("done") for state in states.values()) else 1


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    option = parser.add_argument
    option("--only", default="", help=f"a comma-separated choice of {', '.join(PARTS)}")
    option("--again", action="store_true", help="run parts that are done, too")
    option("--minutes", type=float, default=25, help="the part that runs then is ended")
    option("--device", default="cuda", choices=("cuda", "cpu"))
    option("--toy", action="store_true", help="tiny models and few images")
    option("--out", type=Path, metavar="FOLDER", help="default: docs/results/gpu")
    option("--work", type=Path, metavar="FOLDER", help="logs, weights; default: work_dirs/gpu")
    option("--part", choices=PARTS, help="run one part in this process (this tool does)")
    args = parser.parse_args()
    name = "gpu-toy" if args.toy else "gpu"
    args.work = (args.work or Path("work_dirs") / name).resolve()
    # A toy's figures mean nothing, so they stay out of the documentation.
    default = args.work / "results" if args.toy else ROOT / "docs" / "results" / "gpu"
    args.out = (args.out or default).resolve()
    return args


def chosen_parts(only: str) -> list[str]:
    names = [name.strip() for name in only.split(",")] if only else list(PARTS)
    unknown = [name for name in names if name not in PARTS]
    if unknown:
        raise ValueError(f"--only {unknown}; choose among {list(PARTS)}")
    return names


def check_device(device: str, is_toy: bool) -> None:
    if device == "cuda" and not torch.cuda.is_available():
        raise ValueError(
            "no CUDA device was found, so nothing was measured; to try the code on a CPU, add "
            "--device cpu --toy"
        )
    if device == "cpu" and not is_toy:
        raise ValueError("--device cpu needs --toy: the full size would take days on a CPU")


if __name__ == "__main__":
    with plain_errors():
        sys.exit(main())
