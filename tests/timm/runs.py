"""Runs of tools/timm_train.py's parts in this process, and of the tool as a user types it."""

import multiprocessing
import os
import runpy
import socket
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from aal_plugin.timm.launch import load_script, put_task_in

ROOT = Path(__file__).resolve().parents[2]
TOOL = ROOT / "tools/timm_train.py"
SCRIPT = Path(__file__).with_name("train_script.py")
# Forks of a server that has imported torch once, and never trained.
PROCESSES = multiprocessing.get_context("forkserver")
PROCESSES.set_forkserver_preload([__name__])
AAL = ["--aal-teacher", "test_resnet", "--aal-random-teacher", "--aal-gammas", "0.9"]


def run(folder, *options, script=SCRIPT, aal=True):
    """The script in this process, by default with AAL; what the newest checkpoint holds."""
    module = load_script(str(script))
    if aal:
        put_task_in(module)
    module.parser.prog = "train.py"
    argv, sys.argv = sys.argv, [str(script), "--output", str(folder), *map(str, options)]
    try:
        module.main()
    finally:
        sys.argv = argv
    return torch.load(folder / "last.pth.tar")


def refused(capsys, folder, *options, **script):
    """What the launcher says of options that it rejects."""
    with pytest.raises(SystemExit) as stop:
        run(folder, *options, **script)
    assert stop.value.code == 2
    return capsys.readouterr().err


def tool(monkeypatch, capsys, *words):
    """What tools/timm_train.py says, in this process, of words that it does not train with."""
    monkeypatch.setattr(sys, "argv", [str(TOOL), *map(str, words)])
    monkeypatch.setattr(sys, "path", list(sys.path))
    with pytest.raises(SystemExit) as stop:
        runpy.run_path(str(TOOL), run_name="__main__")
    printed = capsys.readouterr()
    return f"{printed.out}{printed.err}{stop.value.code}"


def changed(folder, *replaced):
    """A copy of the script with other words in it."""
    source = SCRIPT.read_text()
    for old, new in replaced:
        assert old in source
        source = source.replace(old, new, 1)
    path = folder / "changed.py"
    path.write_text(source)
    return path


def started(folder, *options, script=SCRIPT, **environment):
    """`run` in a process of its own, without the threads of this one; it has begun."""
    process = PROCESSES.Process(target=_run, args=(environment, folder, options, script))
    process.start()
    return process


def _run(environment, folder, options, script):
    os.environ.update(environment)
    run(folder, *options, script=script)


def on_ranks(folder, *options, count=2):
    """`run` on several ranks, as torchrun starts them."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    shared = dict(WORLD_SIZE=str(count), MASTER_ADDR="127.0.0.1", MASTER_PORT=str(port))
    ranks = [
        started(folder, *options, **shared, RANK=str(n), LOCAL_RANK=str(n)) for n in range(count)
    ]
    for rank in ranks:
        rank.join(timeout=300)
    assert [rank.exitcode for rank in ranks] == [0] * count


def launch(*command, status=0, **environment):
    """A command in a process of its own; what it prints."""
    paths = [str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])]
    done = subprocess.run(
        [sys.executable, *map(str, command)],
        env=dict(os.environ, PYTHONPATH=os.pathsep.join(paths), **environment),
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == status, (done.stdout + done.stderr)[-4000:]
    return done.stdout + done.stderr


def ranks(count=2):
    """The words in front of a script that run it on several ranks."""
    return ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", count]
