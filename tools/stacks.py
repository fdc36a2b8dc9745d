#!/usr/bin/env python
"""Tests this package with sets of releases, each in an environment of its own: .venv-NAME.

    tools/stacks.py                       # the oldest and the newest set
    tools/stacks.py oldest -- -x          # one of them; what follows -- goes to pytest

An environment is made once and kept: 5 to 8 GB each, with torch's default build.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
TORCH_2_1 = "torch==2.1.0 torchvision==0.16.0 numpy<2 opencv-python<4.12"  # neither likes NumPy 2
OPENMMLAB = "mmengine==0.10.7 mmpretrain==1.2.0 mmcv-lite==2.1.0"
# Name: the Python, what pip installs, and the tests.
STACKS = {
    "oldest": ("python3.10", f"{TORCH_2_1} {OPENMMLAB} timm==1.0.11 -e .[mm]", "core mm"),
    "oldest-timm": ("python3.10", f"{TORCH_2_1} timm==1.0.27 -e .[timm]", "timm"),
    "newest": ("python3.13", "torch torchvision -e .[mm,timm]", "core mm timm"),
    "newest-onedl": ("python3.13", "torch torchvision -e .[onedl,timm]", "mm"),
}
FOR_TESTS = "pytest scipy scikit-learn"


def environment(name: str) -> Path:
    """The Python of a set's environment, which is made if there is none."""
    python, packages, _ = STACKS[name]
    folder = ROOT / f".venv-{name}"
    done = folder / ".installed"
    if not done.exists():
        subprocess.run([python, "-m", "venv", "--clear", folder], check=True)
        pip = [folder / "bin" / "python", "-m", "pip", "install", "--quiet"]
        subprocess.run([*pip, *packages.split(), *FOR_TESTS.split()], cwd=ROOT, check=True)
        done.touch()
    return folder / "bin" / "python"


def main() -> None:
    """Parse, install, test; the exit status is 1 if a set failed."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"of {', '.join(STACKS)}")
    own, _, given = " ".join(sys.argv[1:]).partition("-- ")
    names = parser.parse_args(own.split()).names or ["oldest", "oldest-timm", "newest"]
    if unknown := set(names) - set(STACKS):
        parser.error(f"no such set: {', '.join(sorted(unknown))}; choose of {', '.join(STACKS)}")
    failed = []
    for name in names:
        python = environment(name)
        print(f"== {name}", flush=True)
        tests = [f"tests/{room}" for room in STACKS[name][2].split()]
        command = [python, "-W", "ignore", "-m", "pytest", *tests, *given.split()]
        if subprocess.run(command, cwd=ROOT, env={**os.environ, "AAL_TRUST_FILES": "1"}).returncode:
            failed.append(name)
    sys.exit(f"failed: {', '.join(failed)}" if failed else 0)


if __name__ == "__main__":
    main()
