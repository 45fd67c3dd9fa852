"""The file of pixels: written once, found again, and nothing left behind where that fails."""

import errno
import os
import shutil
from collections import namedtuple
from dataclasses import replace

import numpy as np
import pytest

from leannet.data import MappedPixels, Reading, StreamedPixels, load_pixels, mapped, open_source
from leannet_runtime.errors import UserError
from leannet_runtime.files import cache_folder
from leannet_runtime.preprocessing import Preprocessing

SMALL = Preprocessing(4, crop_pct=1.0)


@pytest.fixture
def root(make_folder):
    return make_folder({"train/a": 5, "train/b": 4, "test/a": 2, "test/b": 1})


def load(source, preprocessing=SMALL, split="train", **options):
    return load_pixels(source, split, preprocessing, memory_limit=0, **options)


def files():
    return sorted(path.name for path in (cache_folder() / "pixels").glob("*"))


def test_file_holds_the_pixels_and_its_place_is_told(root):
    source = open_source(root)
    pixels = load(source)
    assert isinstance(pixels, MappedPixels)
    expected = [SMALL.pixels(source.splits["train"].read(index)) for index in range(9)]
    np.testing.assert_array_equal(pixels.rows, np.stack(expected))
    assert not pixels.rows.flags.writeable
    assert pixels.notes == (f"the pixels of the train part are kept for the next run in {pixels.path} (0.0 GiB)",)
    assert files() == [pixels.path.name]


def test_order_in_which_threads_finish_does_not_matter(root, monkeypatch):
    def backwards(split, use, reading):
        for position in reversed(range(len(split))):
            use(position, split.read(position))
        return {}

    expected = np.array(load(open_source(root)).rows)
    monkeypatch.setattr(mapped, "read_all", backwards)
    (cache_folder() / "pixels" / files()[0]).unlink()
    np.testing.assert_array_equal(load(open_source(root)).rows, expected)


def test_next_run_decodes_nothing(root, decodings):
    first = load(open_source(root))
    decodings.clear()
    again = load(open_source(root, seed=1, workers=1))
    assert not decodings
    assert again.path == first.path
    np.testing.assert_array_equal(again.rows, first.rows)


def test_other_pixels_have_another_file(root):
    source = open_source(root)
    others = [Preprocessing(5, 1.0), Preprocessing(4, 0.9), Preprocessing(4, 1.0, "bilinear")]
    paths = [load(source, preprocessing).path for preprocessing in (SMALL, *others)]
    paths.append(load(source, split="test").path)
    os.utime(root / "train/a/0.png", ns=(0, 1))
    paths.append(load(open_source(root)).path)
    assert len(set(paths)) == 6
    assert load(source, replace(SMALL, mean=(0.5, 0.5, 0.5))).path == paths[-1]  # normalised later


def test_images_in_memory_can_be_mapped():
    pixels = load(open_source("digits"))
    assert isinstance(pixels, MappedPixels)
    assert len(pixels) == 1438


def test_file_of_another_length_is_written_anew(root):
    first = load(open_source(root))
    before = np.array(first.rows)
    first.path.write_bytes(b"short")
    np.testing.assert_array_equal(load(open_source(root)).rows, before)


def test_where_the_disk_has_no_room(root, monkeypatch):
    assert isinstance(load(open_source(root), disk_limit=9 * 48 - 1), StreamedPixels)
    usage = namedtuple("usage", "total used free")
    for free, kind in ((mapped.DISK_MARGIN + 9 * 48 - 1, StreamedPixels), (mapped.DISK_MARGIN + 9 * 48, MappedPixels)):
        monkeypatch.setattr(shutil, "disk_usage", lambda _, free=free: usage(0, 0, free))
        assert isinstance(load(open_source(root)), kind)


def test_full_disk_in_the_middle(root, monkeypatch):
    def fail(*_):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", fail)
    assert isinstance(load(open_source(root)), StreamedPixels)
    assert files() == []


def test_no_place_for_a_cache(root, tmp_path, monkeypatch):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    assert isinstance(load(open_source(root)), StreamedPixels)


def test_interruption_leaves_no_file(root):
    load(open_source(root), disk_limit=0)  # so that all images are known to be sound

    def interrupt(done, total):
        if list((cache_folder() / "pixels").glob(".*")):
            raise KeyboardInterrupt

    source = replace(open_source(root), reading=Reading(progress=interrupt))
    with pytest.raises(KeyboardInterrupt):
        load(source)
    assert files() == []


def test_image_that_is_damaged_meanwhile(root, monkeypatch):
    monkeypatch.setattr("leannet.data.loading.find_damaged", lambda *_: {})
    (root / "train/a/1.png").write_bytes(b"")
    with pytest.raises(UserError, match=r"cannot read train/a/1\.png: the file is empty"):
        load(open_source(root))
    assert files() == []


def test_what_a_killed_process_left_is_removed(root):
    folder = cache_folder() / "pixels"
    folder.mkdir(parents=True)
    for name, age in ((".old.u8.x", 2 * mapped.ABANDONED), (".new.u8.x", 0)):
        (folder / name).write_bytes(b"")
        now = (folder / name).stat().st_mtime
        os.utime(folder / name, (now, now - age))
    pixels = load(open_source(root))
    assert files() == sorted([".new.u8.x", pixels.path.name])
