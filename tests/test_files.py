"""Files on a disk that is really full: a file system of 300 kB, mounted for the test."""

import errno
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from aal_plugin.files import PREFIX, check_not_input, write_whole

ROOT = Path(__file__).resolve().parents[1]
SCRIPT = """
import os, sys
from pathlib import Path
from aal_plugin.files import save_figure, write_whole, written_whole
home = Path(sys.argv[1])
write_whole(home / "kept", b"a" * 1000)
def told(write):
    try:
        write()
    except OSError as error:
        print(error)
    else:
        print("written")
told(lambda: write_whole(home / "kept", b"b" * 400_000))
told(lambda: write_whole(home / "new", b"b" * 400_000))
def checkpoint():
    with written_whole(home / "a.pth") as part, open(part, "wb") as file:
        for _ in range(9):
            file.write(b"c" * 50_000)
            file.flush()
told(checkpoint)
from matplotlib.figure import Figure
import numpy as np
figure = Figure(figsize=(12, 12))
figure.subplots().imshow(np.random.default_rng(0).random((1200, 1200)))
told(lambda: save_figure(figure, home / "a.png", dpi=200))
print(sorted(os.listdir(home)), (home / "kept").read_bytes() == b"a" * 1000)
"""


def on_a_small_disk(folder):
    """Run the script where `folder` is a disk of 300 kB, as root or in a namespace of its own."""
    mount = f"mount -t tmpfs -o size=300k tmpfs {folder}"
    script = f"{mount} || exit 77; exec {sys.executable} -W ignore -c '{SCRIPT}' {folder}"
    for own in (["unshare", "-rm"], ["unshare", "-m"]):
        if shutil.which("unshare") is None:
            break
        done = subprocess.run(
            [*own, "sh", "-c", script],
            cwd=ROOT,
            env=dict(PYTHONPATH=str(ROOT), PATH="/usr/bin:/bin:/usr/sbin:/sbin", MPLBACKEND="agg"),
            capture_output=True,
            text=True,
            timeout=300,
        )
        if done.returncode == 0:
            return done.stdout.splitlines()[-5:]  # the onedl fork talks when it is imported
        if "unshare:" not in done.stderr and "mount:" not in done.stderr:
            pytest.fail(done.stderr)
    pytest.skip("no right to mount a disk here")


def test_a_full_disk_is_told_and_what_was_there_is_kept(tmp_path):
    replaced, new, checkpoint, figure, left = on_a_small_disk(tmp_path)
    for words, name in ((replaced, "kept"), (new, "new"), (checkpoint, "a.pth"), (figure, "a.png")):
        assert f"No space left on device for {tmp_path / name}" in words, words
        assert "bytes needed" in words and "free" in words
    assert "400000 bytes needed" in replaced and "of this name is unchanged" in replaced
    assert "is kept" not in new
    assert left == "['kept'] True"


@pytest.mark.parametrize("number", [errno.EINVAL, errno.EOPNOTSUPP, errno.EIO])
def test_a_mount_that_cannot_flush_is_no_error_and_a_broken_disk_is(tmp_path, monkeypatch, number):
    def fsync(handle):
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(os, "fsync", fsync)
    (tmp_path / "a").write_text("old")
    if number == errno.EIO:
        with pytest.raises(OSError, match=os.strerror(number)):
            write_whole(tmp_path / "a", "new")
    else:
        write_whole(tmp_path / "a", "new")
    assert (tmp_path / "a").read_text() == ("old" if number == errno.EIO else "new")
    assert os.listdir(tmp_path) == ["a"]


def test_a_planted_link_is_not_followed(tmp_path):
    victim = tmp_path / "victim"
    victim.write_text("mine")
    (tmp_path / f"{PREFIX}a").symlink_to(victim)
    write_whole(tmp_path / "a", "new")
    assert victim.read_text() == "mine" and not (tmp_path / "a").is_symlink()


def test_a_file_keeps_its_mode_and_a_new_one_has_the_umasks(tmp_path):
    before = os.umask(0o027)
    try:
        for name, mode in (("open", 0o664), ("locked", 0o440), ("own", 0o600)):
            (tmp_path / name).write_text("old")
            (tmp_path / name).chmod(mode)
            write_whole(tmp_path / name, "new")
            assert (tmp_path / name).stat().st_mode & 0o777 == mode
        write_whole(tmp_path / "new", "new")
        assert (tmp_path / "new").stat().st_mode & 0o777 == 0o640
    finally:
        os.umask(before)


def test_an_output_that_is_an_input_is_refused(tmp_path):
    source = tmp_path / "epoch_1.pth"
    source.write_text("weights")
    (tmp_path / "link.pth").symlink_to(source)
    for out in (source, tmp_path / "link.pth", f"{tmp_path}/../{tmp_path.name}/epoch_1.pth"):
        with pytest.raises(ValueError, match="epoch_1|link.*is an input .* choose another name"):
            check_not_input(out, "gone.py", source)
    check_not_input(tmp_path / "other.pth", source)
