"""Lists the configs of this package, and copies one so that it works elsewhere."""

from __future__ import annotations

import argparse
import ast
import fnmatch
import re
from collections.abc import Sequence
from pathlib import Path

from aal_plugin.files import configs_folder, write_whole

BASES = "_base_"  # the folder of parts, and the key of a config that names what it inherits


def list_command(words: Sequence[str]) -> None:
    """`aal configs [PATTERN] [--path]`."""
    parser = argparse.ArgumentParser(
        prog="aal configs",
        description="List the configs of this package, each with what it trains.",
        epilog="Examples: aal configs cifar10; aal configs 'shapes/*'. Your own config inherits "
        'one with _base_ = "{{$AAL_CONFIGS:}}/NAME". Scripts of your own need export '
        "AAL_CONFIGS=$(aal configs --path) before it; aal's commands do not.",
    )
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
    for name, path in found.items():
        print(f"{name:{width}}  {description(path.read_text(encoding='utf-8'))}".rstrip())


def copy_command(words: Sequence[str]) -> None:
    """`aal copy NAME DEST`."""
    parser = argparse.ArgumentParser(
        prog="aal copy",
        description="Copy a config. The copy inherits from this package's configs, so it works in "
        "any folder.",
        epilog="Example: aal copy aal_deit-s_in1k-5pct.py my_experiment.py",
    )
    parser.add_argument("name", help="a name that `aal configs` prints")
    parser.add_argument("dest", type=Path, help="a folder, or the file to write")
    args = parser.parse_args(words)
    source = resolve(args.name)
    dest = args.dest / source.name if args.dest.is_dir() or not args.dest.suffix else args.dest
    if dest.suffix != ".py":
        raise ValueError(f"{dest}: a config's name ends with .py")
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
        if fnmatch.fnmatch(name, glob) and (not name.startswith(BASES) or BASES in pattern)
    }


def resolve(name: str) -> Path:
    """The file of a config's name, with or without 'configs/' and '.py'.

    Raises:
        FileNotFoundError: no such config; the message names similar ones and the folder.
    """
    folder = configs_folder()
    plain = name.removeprefix("configs/")
    for candidate in (plain, f"{plain}.py"):
        if (folder / candidate).is_file():
            return folder / candidate
    near = list(find(Path(plain).stem))[:5]
    raise FileNotFoundError(
        f"{name}: no such config in {folder}"
        + (f"; similar names: {', '.join(near)}" if near else "; `aal configs` lists all")
    )


def description(source: str) -> str:
    """The first sentence of a config's comment, without the command on top."""
    comments: list[str] = []
    for line in source.splitlines():
        if not line.startswith("#"):
            break
        text = line.lstrip("# ")
        if not text.startswith("tools/"):
            comments.append(text)
    return re.split(r"\.(?: |$)", " ".join(comments), maxsplit=1)[0]


def portable(source: Path, dest: Path) -> str:
    """A config's text, with its relative paths made to work from anywhere."""
    folder = configs_folder()
    # MMEngine reads the default up to the first space, as a regular expression.
    plain = re.fullmatch(r"[\w./-]+", str(folder))
    anchor = f"{{{{$AAL_CONFIGS:{folder}}}}}" if plain else str(folder)
    text = source.read_text(encoding="utf-8")
    lines = text.splitlines(keepends=True)
    for node in reversed(_base_strings(text)):
        target = (source.parent / str(node.value)).resolve().relative_to(folder)
        line = lines[node.lineno - 1]
        new = f'"{anchor}/{target.as_posix()}"'
        lines[node.lineno - 1] = line[: node.col_offset] + new + line[node.end_col_offset :]
    here = source.parent.relative_to(folder).as_posix()
    home = anchor if here == "." else f"{anchor}/{here}"
    text = "".join(lines).replace("{{fileDirname}}", home)
    first, _, rest = text.partition("\n")
    return f"# aal train {dest}\n{rest if first.startswith('# tools/') else text}"


def _base_strings(text: str) -> list[ast.Constant]:
    """The relative paths of `_base_`, in the order of the file."""
    assigned = [
        node.value
        for node in ast.parse(text).body
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == BASES
    ]
    return [
        node
        for value in assigned
        for node in ast.walk(value)
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and "::" not in node.value
    ]
