"""`aal COMMAND …`: runs a tool of this package; see `aal --help`."""

from __future__ import annotations

import difflib
import os
import runpy
import subprocess
import sys
import warnings
from collections.abc import Sequence
from pathlib import Path

import aal_plugin
from aal_plugin.files import configs_folder, tools_folder
from aal_plugin.process import plain_errors

from .commands import COMMANDS, OWN, Command, overview
from .configs import copy_command, list_command

USAGE = f"""usage: aal COMMAND [arguments]

{aal_plugin.__doc__.splitlines()[0] if aal_plugin.__doc__ else ""}

{{commands}}

`aal COMMAND --help` shows the command's arguments and an example. A config may be a file of yours
or a name that `aal configs` prints."""


def main() -> None:
    """Run the command that `sys.argv` names."""
    words = sys.argv[1:]
    sys.argv[0] = "aal"
    with plain_errors():
        try:
            name = own_command(words)
            sys.stdout.flush()
        except BrokenPipeError:  # `aal configs | head` reads no further
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            return
        if name:
            run(name, words[len(name.split()) :])


def own_command(words: Sequence[str]) -> str | None:
    """Answer what needs no tool (help, version, configs, copy); otherwise, the tool's command."""
    if not words or words[0] in ("-h", "--help"):
        print(USAGE.format(commands=overview()))
        sys.exit(0 if words else 2)
    if words[0] == "--version":
        print(f"aal_plugin {aal_plugin.__version__}")
    elif words[0] == "configs":
        list_command(words[1:])
    elif words[0] == "copy":
        copy_command(words[1:])
    else:
        return command_name(words)
    return None


def command_name(words: Sequence[str]) -> str:
    """The command that the first word or two name, such as 'train' or 'links plot'.

    Raises:
        SystemExit: they name none; prints the commands that fit.
    """
    for name in (" ".join(words[:2]), words[0]):
        if name in COMMANDS:
            return name
    if any(name.startswith(f"{words[0]} ") for name in COMMANDS):
        print(f"usage: aal {words[0]} COMMAND [arguments]\n\n{overview(words[0])}")
        sys.exit(0 if words[1:2] in (["-h"], ["--help"]) else 2)
    near = difflib.get_close_matches(words[0], [*OWN, *COMMANDS], n=2)
    hint = f"did you mean {' or '.join(near)}?" if near else "`aal --help` lists the commands"
    raise ValueError(f"{words[0]!r} is not a command; {hint}")


def run(name: str, arguments: Sequence[str]) -> None:
    """Run a command's tool in this process (a shell script: in a child), and leave as it does."""
    command = COMMANDS[name]
    tool = tools_folder() / command.tool
    given = [_config(word) for word in arguments]
    asked = {"-h", "--help"} & set(arguments)
    if asked:
        print(f"{_header(name, command)}\n", flush=True)
    if tool.suffix == ".sh":
        os.environ.setdefault("PYTHON", sys.executable)
        status = subprocess.call(["bash", str(tool), *([] if asked else given)])
        sys.exit(0 if asked else status)
    for words in ("Fail to import", "pkg_resources is deprecated"):  # OpenMMLab's, at every start
        warnings.filterwarnings("ignore", message=words)
    sys.argv = [str(tool), *given]
    runpy.run_path(str(tool), run_name="__main__")


def _header(name: str, command: Command) -> str:
    return f"aal {name}: {command.summary}\nexample: {command.example}"


def _config(word: str) -> str:
    """A config's file, if the word is the name of one of ours and no file of that name exists."""
    if word.endswith(".py") and not word.startswith("-") and not Path(word).exists():
        ours = configs_folder() / word.removeprefix("configs/")
        if ours.is_file():
            return str(ours)
    return word


if __name__ == "__main__":
    main()
