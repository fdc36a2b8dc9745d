import re
import subprocess
import sys
from pathlib import Path

import pytest

from aal_plugin import cli
from aal_plugin.cli import TOOLS
from aal_plugin.files import configs_folder, tools_folder
from aal_plugin.mm.launch import mmpretrain_script
from aal_plugin.mmpretrain_options import check_options

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def aal(monkeypatch, capfd):
    """Run a command in this process; its status and what it printed."""

    def run(*words):
        monkeypatch.setattr(sys, "argv", ["/usr/bin/aal", *map(str, words)])
        status = 0
        try:
            cli.main()
        except SystemExit as stop:
            status = stop.code or 0
        printed = capfd.readouterr()
        return status, printed.out + printed.err

    return run


def test_every_command_has_a_tool():
    assert all((tools_folder() / file).is_file() for file, _ in TOOLS.values())


def test_help_lists_every_command_with_what_it_does(aal):
    status, text = aal("--help")
    assert status == 0
    for name, (_, summary) in TOOLS.items():
        assert re.search(rf"^  {name} +{re.escape(summary)}$", text, re.MULTILINE)
    assert aal()[0] == 2  # nothing to do


def test_help_and_mistakes_load_nothing_that_takes_seconds():
    """Nor do the configs and the tools of the checkout."""
    code = f"""
import runpy, sys
from aal_plugin.cli import TOOLS, main
sys.path.insert(0, {str(ROOT)!r})
for words in ["--help", "configs", "configs --path", "copy -h", "train", "test", "export", "trian",
              *(f"{{name}} --help" for name in TOOLS if not TOOLS[name][0].endswith(".sh"))]:
    sys.argv = ["aal", *words.split()]
    try: main()
    except SystemExit: pass
for tool in ("benchmark", "compare", "quickstart", "results"):
    sys.argv = [tool, "--help"]
    try: runpy.run_path({str(ROOT / "tools")!r} + f"/{{tool}}.py", run_name="__main__")
    except SystemExit: pass
slow = ("torch", "timm", "mmengine", "mmpretrain", "numpy", "matplotlib")
print([name for name in slow if name in sys.modules])
"""
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", code], capture_output=True, text=True, cwd=ROOT
    )
    assert done.stdout.endswith("[]\n") and "Traceback" not in done.stderr


@pytest.mark.parametrize("name", [name for name in TOOLS if name != "timm-train"])
def test_help_of_a_command_is_its_tools(aal, name):
    status, text = aal(*name.split(), "--help")
    assert status == 0 and text.startswith(f"aal {name}: {TOOLS[name][1]}\n")
    assert "usage" in text or "tools/" in text
    assert "Traceback" not in text


@pytest.mark.parametrize("name", ["train", "test"])
def test_options_are_those_that_mmpretrains_own_script_has(name, monkeypatch, capsys):
    """Read from its source, beside its own parser after all imports."""
    script = mmpretrain_script(name)
    said = []
    for answer in (lambda: check_options(name), script.parse_args):
        for words in (["--help"], ["a.py", "--no-such-option"], ["a.py", "b", "--out-item", "x"]):
            monkeypatch.setattr(sys, "argv", [f"{name}.py", *words])
            with pytest.raises(SystemExit) as stop:
                answer()
            said.append((stop.value.code, *capsys.readouterr()))
    assert said[:3] == said[3:] and "--cfg-options" in said[0][1]
    monkeypatch.setattr(sys, "argv", [f"{name}.py", "a.py", "b.pth"][: 2 + (name == "test")])
    assert check_options(name) is None


def test_a_mistyped_command_gets_a_suggestion(aal):
    status, text = aal("trian")
    assert status == 2 and text == "aal: error: 'trian' is not a command; did you mean train?\n"
    assert "see `aal --help`" in aal("xyz")[1]
    status, text = aal("links")
    assert status == 2 and "links plot" in text


def test_arguments_reach_the_tool_and_names_of_configs_become_files(tmp_path, monkeypatch):
    tool = tmp_path / "echo.py"
    tool.write_text("import sys\nraise SystemExit(repr(sys.argv))\n")
    monkeypatch.setattr(cli, "tools_folder", lambda: tmp_path)
    monkeypatch.setitem(TOOLS, "train", ("echo.py", "echo"))
    monkeypatch.chdir(tmp_path)
    (tmp_path / "aal_pit_shapes.py").touch()
    words = ["aal_pit_shapes.py", "configs/shapes/pit_shapes.py", "no.py", "--work-dir", "x"]
    monkeypatch.setattr(sys, "argv", ["aal", "train", *words])
    with pytest.raises(SystemExit) as stop:
        cli.main()
    ours = str(configs_folder() / "shapes" / "pit_shapes.py")
    assert stop.value.code == repr([str(tool), words[0], ours, *words[2:]])


def test_a_shell_tool_runs_with_this_python_and_its_status(tmp_path, monkeypatch):
    (tmp_path / "echo.sh").write_text('echo "$PYTHON $*" > "$1"; exit 7\n')
    monkeypatch.setattr(cli, "tools_folder", lambda: tmp_path)
    monkeypatch.setitem(TOOLS, "dist-train", ("echo.sh", "echo"))
    monkeypatch.delenv("PYTHON", raising=False)
    monkeypatch.setattr(sys, "argv", ["aal", "dist-train", str(tmp_path / "out"), "2"])
    with pytest.raises(SystemExit) as stop:
        cli.main()
    said = (tmp_path / "out").read_text()
    assert stop.value.code == 7
    assert said == f"{sys.executable} {tmp_path / 'out'} 2\n"


def test_copy_writes_once(aal, tmp_path):
    dest = tmp_path / "new" / "mine.py"
    status, text = aal("copy", "shapes/pit_shapes.py", dest)
    assert status == 0 and f"aal train {dest}" in text
    status, text = aal("copy", "shapes/pit_shapes.py", dest)
    assert status == 2 and f"{dest} exists already" in text
    for name in ("shapes/swin_shapes", "configs/shapes/pit_shapes.py"):
        assert aal("copy", name, tmp_path / "new")[0] == 0
    assert {path.name for path in (tmp_path / "new").iterdir()} == {
        *("mine.py", "pit_shapes.py", "swin_shapes.py")
    }
    status, text = aal("copy", "swin_shapes.py", tmp_path)
    assert status == 2 and str(configs_folder()) in text and "shapes/aal_swin_shapes.py" in text


def test_a_reader_of_the_list_may_stop_early():
    code = "from aal_plugin.cli import main; main()"
    command = f'"{sys.executable}" -c "{code}" configs | head -1'
    done = subprocess.run(["bash", "-c", command], capture_output=True, text=True, cwd=ROOT)
    assert done.stdout.startswith("aal_deit-b_in1k.py ") and done.stderr == ""


def test_configs_that_match_nothing_say_where_they_were_searched(aal):
    status, text = aal("configs", "resnet1001")
    assert status == 2 and str(configs_folder()) in text
