"""`aal COMMAND …`: the tools and configs of this package, from any folder."""

from __future__ import annotations

import argparse
import difflib
import fnmatch
import os
import re
import runpy
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import aal_plugin

from .files import configs_folder, tools_folder, write_whole
from .process import hide_known_warnings, plain_errors

TOOLS = {  # command: its file in tools/, and what it does
    "train": ("train.py", "train from a config"),
    "dist-train": ("dist_train.sh", "train on several GPUs, or on several CPU processes"),
    "slurm-train": ("slurm_train.sh", "train as a Slurm job"),
    "test": ("test.py", "test a checkpoint"),
    "dist-test": ("dist_test.sh", "test a checkpoint on several GPUs"),
    "timm-train": ("timm_train.py", "train with timm's own train.py"),
    "export": ("export_student.py", "turn an AAL checkpoint into one of a plain ImageClassifier"),
    "subset": ("make_subset.py", "list the images of a class-balanced subset"),
    "report": ("report.py", "write a page about training runs"),
    "curves": ("analysis/compare_runs.py", "draw the learning curves of runs"),
    "agreement": ("analysis/agreement.py", "draw how often checkpoints disagree"),
    "links plot": ("analysis/plot_links.py", "draw the trained links of checkpoints"),
    "links select": ("analysis/select_links.py", "choose selective links from trained full links"),
    "links epochs": ("analysis/links_over_epochs.py", "draw how the links changed during a run"),
    "attention show": ("analysis/show_attention.py", "draw a student's attention, image by image"),
    "attention compare": (
        "analysis/compare_attention.py",
        "draw the attention of several students",
    ),
}
OWN = {
    "configs": "list the configs; --path prints their folder",
    "copy": "copy a config into a folder of yours",
}
USAGE = """usage: aal COMMAND [arguments]

{commands}

`aal COMMAND --help` shows the command's arguments. A config may be a file of yours or a name that
`aal configs` prints."""


def main() -> None:
    """Run the command that `sys.argv` names."""
    words = sys.argv[1:]
    sys.argv[0] = "aal"
    with plain_errors():
        if not words or words[0] in ("-h", "--help"):
            rows = {**OWN, **{name: summary for name, (_, summary) in TOOLS.items()}}
            width = max(map(len, rows))
            lines = [f"  {name:{width}}  {summary}" for name, summary in rows.items()]
            print(USAGE.format(commands="\n".join(lines)))
            sys.exit(0 if words else 2)
        if words[0] == "--version":
            print(f"aal_plugin {aal_plugin.__version__}")
        elif words[0] == "configs":
            list_configs(words[1:])
        elif words[0] == "copy":
            copy_config(words[1:])
        else:
            name = next((n for n in (" ".join(words[:2]), words[0]) if n in TOOLS), None)
            if name is None:
                near = difflib.get_close_matches(" ".join(words[:2]), [*OWN, *TOOLS], n=2)
                hint = f"did you mean {' or '.join(near)}?" if near else "see `aal --help`"
                raise ValueError(f"{words[0]!r} is not a command; {hint}")
            run(name, words[len(name.split()) :])


def run(name: str, words: Sequence[str]) -> None:
    """Run a command's tool in this process (a shell script: in a child), and leave as it does."""
    tool = tools_folder() / TOOLS[name][0]
    asked = bool({"-h", "--help"} & set(words))
    if asked:
        print(f"aal {name}: {TOOLS[name][1]}\n", flush=True)
    given = [config_of(word) for word in words]
    if tool.suffix == ".sh":
        os.environ.setdefault("PYTHON", sys.executable)
        status = subprocess.call(["bash", str(tool), *([] if asked else given)])
        sys.exit(0 if asked else status)
    hide_known_warnings()
    sys.argv = [str(tool), *given]
    runpy.run_path(str(tool), run_name="__main__")


def config_of(word: str) -> str:
    """A config's file, if the word is the name of one of ours and no file of that name exists."""
    ours = configs_folder() / word.removeprefix("configs/")
    is_name = word.endswith(".py") and not word.startswith("-") and not Path(word).exists()
    return str(ours) if is_name and ours.is_file() else word


def list_configs(words: Sequence[str]) -> None:
    """`aal configs [PATTERN] [--path]`."""
    parser = argparse.ArgumentParser(prog="aal configs", description=OWN["configs"])
    parser.add_argument("pattern", nargs="?", default="", help="part of a name, or a glob pattern")
    parser.add_argument("--path", action="store_true", help="print only the folder of the configs")
    args = parser.parse_args(words)
    if args.path:
        print(configs_folder())
        return
    found = find(args.pattern)
    if not found:
        raise ValueError(f"no config matches {args.pattern!r}; searched {configs_folder()}")
    width = max(map(len, found))
    lines = [f"{name:{width}}  {description(path)}\n" for name, path in found.items()]
    print("".join(lines), end="")  # in one piece: `aal configs | head` reads no further


def copy_config(words: Sequence[str]) -> None:
    """`aal copy NAME DEST`."""
    parser = argparse.ArgumentParser(
        prog="aal copy", description=f"{OWN['copy']}; it inherits from this package's configs"
    )
    parser.add_argument("name", help="a name that `aal configs` prints")
    parser.add_argument("dest", type=Path, help="a folder, or the file to write")
    args = parser.parse_args(words)
    source = configs_folder() / f"{args.name.removeprefix('configs/').removesuffix('.py')}.py"
    if not source.is_file():
        near = ", ".join(list(find(source.stem))[:5])
        hint = f"similar names: {near}" if near else "`aal configs` lists all"
        raise FileNotFoundError(f"{args.name}: no such config in {configs_folder()}; {hint}")
    dest = args.dest if args.dest.suffix == ".py" else args.dest / source.name
    if dest.exists():
        raise FileExistsError(f"{dest} exists already; choose another name, or remove it")
    dest.parent.mkdir(parents=True, exist_ok=True)
    write_whole(dest, portable(source, dest))
    print(f"wrote {dest}\ntrain it with: aal train {dest}")


def find(pattern: str = "") -> dict[str, Path]:
    """Configs by name, relative to their folder; `_base_/` only if the pattern names it."""
    folder = configs_folder()
    every = sorted(folder.rglob("*.py"), key=lambda path: (len(path.parts), path))
    named = {path.relative_to(folder).as_posix(): path for path in every}
    glob = pattern if any(sign in pattern for sign in "*?[") else f"*{pattern}*"
    return {
        name: path
        for name, path in named.items()
        if fnmatch.fnmatch(name, glob) and (not name.startswith("_base_") or "_base_" in pattern)
    }


def description(config: Path) -> str:
    """The first sentence of a config's comment, without the command on top."""
    comment = re.match(r"(?:# tools/.*\n)?((?:#.*\n)*)", config.read_text(encoding="utf-8"))
    words = " ".join(line.lstrip("# ") for line in comment[1].splitlines()) if comment else ""
    return re.split(r"\.(?: |$)", words, maxsplit=1)[0]


def portable(source: Path, dest: Path) -> str:
    """A config's text, with its relative paths made to work from anywhere."""
    folder = configs_folder()
    # MMEngine reads the default up to the first space, as a regular expression.
    plain = re.fullmatch(r"[\w./-]+", str(folder))
    anchor = f"{{{{$AAL_CONFIGS:{folder}}}}}" if plain else str(folder)

    def placed(path: re.Match) -> str:
        target = (source.parent / path[1]).resolve()
        return f'"{anchor}/{target.relative_to(folder).as_posix()}"'

    text = re.sub(r'"(\.{1,2}/[\w./-]+\.py)"', placed, source.read_text(encoding="utf-8"))
    here = (Path(anchor) / source.parent.relative_to(folder)).as_posix()
    first, _, rest = text.replace("{{fileDirname}}", here).partition("\n")
    return f"# aal train {dest}\n" + (rest if first.startswith("# tools/") else f"{first}\n{rest}")
