"""Files are whole or absent, whatever happens while they are written."""

import csv
import errno
import json
import os
import stat
import sys
from pathlib import Path

import pytest

from leannet_runtime.errors import UserError
from leannet_runtime.files import make_folder, write_csv, write_file, write_json, write_text


def names(folder):
    return sorted(path.name for path in folder.iterdir())


def test_text_and_json(tmp_path):
    write_text(tmp_path / "a.txt", "größe\n")
    write_json(tmp_path / "a.json", {"größe": [1, 2.5, None]})
    assert (tmp_path / "a.txt").read_text(encoding="utf-8") == "größe\n"
    text = (tmp_path / "a.json").read_text(encoding="utf-8")
    assert json.loads(text) == {"größe": [1, 2.5, None]}
    assert "größe" in text
    assert text.endswith("}\n")
    write_text(tmp_path / "a.txt", "new")
    assert (tmp_path / "a.txt").read_text() == "new"
    assert names(tmp_path) == ["a.json", "a.txt"]


def test_table_is_read_back(tmp_path):
    columns, rows = ("image", "größe, px"), [('a "quoted", name', "1.50"), ("two\nlines", ""), ("ü", "7")]
    write_csv(tmp_path / "a.csv", columns, (list(row) for row in rows))
    with (tmp_path / "a.csv").open(newline="", encoding="utf-8") as file:
        assert [tuple(row) for row in csv.reader(file)] == [columns, *rows]
    plain = b'image,px\n"a, b",7\nc,\n'
    write_csv(tmp_path / "a.csv", ["image", "px"], [("a, b", 7), ("c", None)])
    assert (tmp_path / "a.csv").read_bytes() == plain
    write_csv(tmp_path / "a.csv", ["image"], [])
    assert (tmp_path / "a.csv").read_bytes() == b"image\n"
    assert names(tmp_path) == ["a.csv"]


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (OSError(errno.ENOSPC, os.strerror(errno.ENOSPC)), ["No space left", "Make room and run the command again."]),
        (OSError(errno.EFBIG, os.strerror(errno.EFBIG)), ["File too large", "Make room"]),
        (OSError(errno.EDQUOT, os.strerror(errno.EDQUOT)), ["quota", "Make room"]),
        (OSError(errno.EIO, os.strerror(errno.EIO)), ["Input/output error", "Choose another folder with --output."]),
        # As safetensors says it: an exception of its own, with the system's words inside.
        (RuntimeError("I/O error: No space left on device (os error 28)"), ["No space left", "Make room"]),
    ],
)
def test_failure_leaves_the_earlier_file(tmp_path, error, words):
    path = tmp_path / "file"
    write_text(path, "before")

    def half(temporary):
        temporary.write_text("half")
        raise error

    with pytest.raises(UserError) as caught:
        write_file(path, half)
    said = str(caught.value)
    assert said.startswith(f"cannot write {path}: ")
    assert all(word in said for word in words), said
    assert path.read_text() == "before"
    assert names(tmp_path) == ["file"]


@pytest.mark.parametrize("error", [KeyboardInterrupt(), ValueError("a defect")])
def test_what_is_no_fault_of_the_disk_gets_through(tmp_path, error):
    write_text(tmp_path / "file", "before")

    def half(temporary):
        temporary.write_text("half")
        raise error

    with pytest.raises(type(error)):
        write_file(tmp_path / "file", half)
    assert (tmp_path / "file").read_text() == "before"
    assert names(tmp_path) == ["file"]


@pytest.mark.parametrize("step", ["fsync", "replace"])
def test_failure_after_writing_leaves_the_earlier_file(tmp_path, monkeypatch, step):
    write_text(tmp_path / "file", "before")

    def fail(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(*((os, "fsync") if step == "fsync" else (Path, "replace")), fail)
    with pytest.raises(UserError, match=r"No space left on device\. Make room"):
        write_text(tmp_path / "file", "after")
    assert (tmp_path / "file").read_text() == "before"
    assert names(tmp_path) == ["file"]


def test_disk_that_is_full_from_the_first_byte(tmp_path, monkeypatch):
    def fail(*_, **__):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("tempfile.mkstemp", fail)
    with pytest.raises(UserError, match=r"cannot write .*file: No space left on device"):
        write_text(tmp_path / "file", "after")
    assert names(tmp_path) == []


def test_a_folder_is_not_written_over(tmp_path):
    (tmp_path / "folder").mkdir()
    with pytest.raises(UserError) as caught:
        write_text(tmp_path / "folder", "text")
    said = f"cannot write {tmp_path / 'folder'}: it is a folder. Name an ordinary file with --output."
    assert str(caught.value) == said
    assert names(tmp_path) == ["folder"]


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="pipes of POSIX")
@pytest.mark.parametrize("name", ["pipe", "link"])
def test_what_is_no_ordinary_file_is_not_written_over(tmp_path, name):
    """As a device is none; root would replace that for the whole system."""
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "link").symlink_to("pipe")
    with pytest.raises(UserError) as caught:
        write_text(tmp_path / name, "text")
    said = f"cannot write {tmp_path / name}: it is no ordinary file. Name an ordinary file with --output."
    assert str(caught.value) == said
    assert stat.S_ISFIFO((tmp_path / "pipe").stat().st_mode)
    assert names(tmp_path) == ["link", "pipe"]


@pytest.mark.skipif(sys.platform == "win32", reason="links need permissions there")
def test_a_link_stays_a_link(tmp_path):
    (tmp_path / "elsewhere").mkdir()
    write_text(tmp_path / "elsewhere" / "file", "before")
    (tmp_path / "link").symlink_to(Path("elsewhere") / "file")
    (tmp_path / "to come").symlink_to(Path("elsewhere") / "new")
    (tmp_path / "nowhere").symlink_to(Path("missing") / "new")
    for name in ("link", "to come"):
        write_text(tmp_path / name, "after")
        assert (tmp_path / name).is_symlink()
    with pytest.raises(UserError, match=r"cannot write .*nowhere: No such file or directory"):
        write_text(tmp_path / "nowhere", "after")
    assert (tmp_path / "elsewhere" / "file").read_text() == (tmp_path / "elsewhere" / "new").read_text() == "after"
    assert names(tmp_path / "elsewhere") == ["file", "new"]
    assert names(tmp_path) == ["elsewhere", "link", "nowhere", "to come"]


@pytest.mark.skipif(sys.platform == "win32", reason="permissions of POSIX")
@pytest.mark.parametrize("mask", [0o022, 0o077])
def test_permissions_are_those_of_an_ordinary_file(tmp_path, mask):
    earlier = os.umask(mask)
    try:
        write_text(tmp_path / "file", "text")
        assert os.umask(mask) == mask, "the mask of the process is changed"
    finally:
        os.umask(earlier)
    assert stat.S_IMODE((tmp_path / "file").stat().st_mode) == 0o666 & ~mask


def test_folder(tmp_path):
    make_folder(tmp_path / "a" / "b")
    make_folder(tmp_path / "a" / "b")
    assert names(tmp_path / "a" / "b") == []
    (tmp_path / "file").write_text("mine")
    for path in (tmp_path / "file", tmp_path / "file" / "below"):
        with pytest.raises(UserError) as caught:
            make_folder(path)
        assert str(caught.value).startswith(f"cannot write {path}: ")
        assert str(caught.value).endswith("Choose another folder with --output.")
    assert (tmp_path / "file").read_text() == "mine"


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="root may write everywhere")
def test_folder_that_is_read_only(tmp_path):
    (tmp_path / "sealed").mkdir(mode=0o500)
    with pytest.raises(UserError, match=r"Permission denied\. Choose another folder"):
        make_folder(tmp_path / "sealed")
    with pytest.raises(UserError, match=r"Permission denied\. Choose another folder"):
        write_text(tmp_path / "sealed" / "file", "text")
