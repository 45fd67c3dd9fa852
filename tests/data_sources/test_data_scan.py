"""The scan against counts made by hand; what it remembers; and which images lie in two parts."""

import hashlib
import os
import sqlite3
import subprocess
import sys
from collections import Counter
from dataclasses import replace

import numpy as np
import pytest
from numbered_images import png
from PIL import Image

from leannet.data import Duplicate, Reading, ScanRow, load_pixels, open_source, scan_source, verdicts
from leannet.data import scan as scan_module
from leannet.data import split as split_module
from leannet_runtime.errors import UserError
from leannet_runtime.files import cache_folder
from leannet_runtime.preprocessing import Preprocessing


@pytest.fixture
def root(make_folder):
    """Nine training images, two damaged; three held-out ones, one damaged and one that is a training image too."""
    root = make_folder({"train/a": 5, "train/b": 4, "test/a": 2, "test/b": 1})
    (root / "train/a/2.png").write_bytes(b"no image")
    (root / "train/b/1.png").write_bytes((root / "train/b/1.png").read_bytes()[:50])
    (root / "test/b/0.png").write_bytes(b"")
    Image.open(root / "train/b/3.png").save(root / "test/a/1.png", "BMP")
    return root


def test_scan_counts_names_and_leaves_out(root):
    scan = scan_source(open_source(root, bad_images="skip", workers=2))
    assert scan.rows == (
        ScanRow("train", "a", 5, 1),
        ScanRow("train", "b", 4, 1),
        ScanRow("test", "a", 2, 0),
        ScanRow("test", "b", 1, 1),
    )
    assert list(scan.damaged) == ["train", "test"]
    assert [error.what for error in scan.damaged["train"]] == [
        "cannot read train/a/2.png", "cannot read train/b/1.png"
    ]  # fmt: skip
    assert str(scan.damaged["test"][0]).startswith("cannot read test/b/0.png: the file is empty. Remove it")
    assert scan.source.split_lists == {
        "train": [f"train/{name}.png" for name in ("a/0", "a/1", "a/3", "a/4", "b/0", "b/2", "b/3")],
        "test": ["test/a/0.png", "test/a/1.png"],
    }
    assert scan.source.splits["train"].labels.tolist() == [0, 0, 0, 0, 1, 1, 1]
    assert scan.duplicates == (Duplicate("train", "train/b/3.png", "test", "test/a/1.png"),)
    assert scan.notes == (
        "skipped 2 of 9 images of the train part that cannot be read, the first: train/a/2.png: not an image",
        "skipped 1 of 3 images of the test part that cannot be read, the first: test/b/0.png: the file is empty",
        "the test part has no images of b that can be read",
        "1 of 3 images of the test part are in the train part too, with exactly the same pixels, "
        "the first: test/a/1.png = train/b/3.png",
    )
    pixels = load_pixels(scan.source, "train", Preprocessing(4, crop_pct=1.0))
    assert pixels.notes == ()
    assert len(pixels) == 7


def test_damaged_images_end_everything_unless_skipped(root):
    with pytest.raises(UserError) as caught:
        scan_source(open_source(root))
    assert str(caught.value) == (
        "cannot read train/a/2.png: not an image (2 of 9 images of the train part cannot be read). "
        "Remove it, or pass --bad-images skip to go on without it."
    )


def test_sound_source_stays_as_it_is(make_folder):
    source = open_source(make_folder({"train/a": 2, "train/b": 1, "val/a": 1, "val/b": 1, "test/a": 1}))
    scan = scan_source(source)
    assert scan.source.split_lists == source.split_lists
    assert scan.source.notes == source.notes
    assert (scan.notes, scan.duplicates) == ((), ())
    assert scan.damaged == {"train": (), "validation": (), "test": ()}
    assert scan.rows[-1] == ScanRow("test", "b", 0, 0)


def test_equal_pixels_of_another_shape_are_no_duplicate(make_folder):
    root = make_folder({"train/a": 1, "train/b": 1, "test/a": 0, "test/b": 1})
    (root / "train/a/0.png").write_bytes(png(9, size=(2, 8)))
    (root / "test/a/0.png").write_bytes(png(9, size=(8, 2)))
    assert scan_source(open_source(root)).duplicates == ()
    (root / "train/a/1.png").write_bytes(png(9, size=(2, 8)))
    (root / "test/a/1.png").write_bytes(png(9, size=(2, 8)))
    (root / "test/a/2.png").write_bytes(png(9, size=(2, 8)))
    found = scan_source(open_source(root)).duplicates
    assert found == tuple(Duplicate("train", "train/a/0.png", "test", f"test/a/{n}.png") for n in (1, 2))


def test_hash_covers_all_strips(monkeypatch):
    image = Image.fromarray(np.random.default_rng(0).integers(0, 256, (7, 5, 3), dtype=np.uint8))
    expected = hashlib.blake2b(b"5 7 " + np.asarray(image).tobytes(), digest_size=16).digest()
    for pixels in (1, 10, 34, 35, 1000):
        monkeypatch.setattr(scan_module, "HASHED_PIXELS", pixels)
        assert scan_module._hash(image) == expected


def test_progress_is_that_of_all_parts(root):
    told = []
    source = open_source(root, bad_images="skip", workers=1, progress=lambda done, total: told.append((done, total)))
    for _ in range(2):
        told.clear()
        scan_source(source)
        assert told[-1] == (12, 12)
        assert [done for done, _ in told] == sorted(done for done, _ in told)


def test_second_scan_decodes_nothing(root, decodings):
    source = open_source(root, bad_images="skip")
    first = scan_source(source)
    assert decodings == Counter(name for names in source.split_lists.values() for name in names)
    decodings.clear()
    again = scan_source(source)
    assert not decodings
    assert (again.rows, again.notes, again.duplicates) == (first.rows, first.notes, first.duplicates)
    assert list(map(str, again.damaged["train"])) == list(map(str, first.damaged["train"]))


def test_a_change_that_keeps_the_size_is_noticed(root, decodings):
    scan_source(open_source(root, bad_images="skip"))
    path = root / "train/a/2.png"
    path.write_bytes(b"no chart")
    os.utime(path, ns=(0, 1))
    decodings.clear()
    scan_source(open_source(root, bad_images="skip"))
    assert decodings == Counter(["train/a/2.png"])


def test_only_new_and_changed_images_are_decoded_again(root, decodings):
    scan_source(open_source(root, bad_images="skip"))
    decodings.clear()
    (root / "train/a/2.png").write_bytes(png(77))
    (root / "train/b/9.png").write_bytes(png(78))
    scan = scan_source(open_source(root, bad_images="skip"))
    assert decodings == Counter(["train/a/2.png", "train/b/9.png"])
    assert [error.what for error in scan.damaged["train"]] == ["cannot read train/b/1.png"]


def test_another_rule_of_decoding_judges_anew(root, decodings, monkeypatch):
    source = open_source(root, bad_images="skip")
    scan_source(source)
    decodings.clear()
    monkeypatch.setattr(verdicts, "RULE", "another")
    scan_source(source)
    assert decodings.total() == 12


def test_rows_of_parquet_files_are_remembered(make_parquet, decodings):
    make_parquet("train.parquet", ["x", "y", "x"])
    path = make_parquet("test.parquet", ["y", "x"])
    scan = scan_source(open_source(path.parent))
    assert [(pair.identifier, pair.other_identifier) for pair in scan.duplicates] == [
        ("train.parquet row 0", "test.parquet row 0"), ("train.parquet row 1", "test.parquet row 1")
    ]  # fmt: skip
    decodings.clear()
    assert scan_source(open_source(path.parent)).duplicates == scan.duplicates
    assert not decodings
    make_parquet("test.parquet", ["y", "x", "x"])
    scan_source(open_source(path.parent))
    assert decodings == Counter(f"test.parquet row {row}" for row in range(3))


def test_images_in_memory_are_scanned(decodings):
    source = open_source("digits")
    for _ in range(2):
        scan = scan_source(source)
        assert sum(row.images for row in scan.rows) == 1797
    assert set(decodings.values()) == {2}
    assert not scan.duplicates


def test_faults_of_the_system_are_not_remembered(root, decodings, monkeypatch):
    source = open_source(root, bad_images="skip")

    def refuse(*_):
        raise PermissionError(13, "Permission denied")

    with monkeypatch.context() as patch:
        patch.setattr(split_module.Path, "open", refuse)
        patch.setattr(split_module.Path, "read_bytes", refuse)
        with pytest.raises(UserError, match="Permission denied"):
            scan_source(source)
    assert len(scan_source(source).damaged["train"]) == 2


def test_what_was_found_before_an_interruption_is_kept(root, decodings):
    def interrupt(done, total):
        raise KeyboardInterrupt

    source = open_source(root, bad_images="skip", workers=1)
    with pytest.raises(KeyboardInterrupt):
        scan_source(replace(source, reading=Reading("skip", 1, interrupt)))
    decodings.clear()
    scan_source(source)
    assert decodings.total() == 12 - 7  # the seven sound ones of the training part


@pytest.mark.parametrize("harm", ["rubbish", "folder", "locked", "read-only place", "other table"])
def test_a_useless_cache_is_no_error(root, harm, monkeypatch, tmp_path):
    source = open_source(root, bad_images="skip")
    expected = scan_source(source)
    path = cache_folder() / "verdicts.sqlite"
    if harm == "locked":
        monkeypatch.setattr(verdicts, "LOCK_SECONDS", 0.01)
        other = sqlite3.connect(path)
        other.execute("BEGIN EXCLUSIVE")
    elif harm == "read-only place":
        (tmp_path / "file").write_text("")
        monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    else:
        path.unlink()
        if harm == "folder":
            path.mkdir()
        elif harm == "rubbish":
            path.write_bytes(b"rubbish" * 1000)
        else:
            with sqlite3.connect(path) as other:
                other.execute("CREATE TABLE verdicts (name TEXT)")
    assert scan_source(source).rows == expected.rows
    if harm == "rubbish":
        scan_source(source)
        assert sqlite3.connect(path).execute("SELECT count(*) FROM verdicts").fetchone() == (12,)


@pytest.mark.slow
def test_two_processes_scan_at_the_same_time(make_folder):
    root = make_folder({"train/a": 150, "train/b": 150, "test/a": 50})
    script = (
        "import sys; from leannet.data import open_source, scan_source; "
        "print(sum(row.images for row in scan_source(open_source(sys.argv[1])).rows))"
    )
    running = [
        subprocess.Popen([sys.executable, "-c", script, str(root)], stdout=subprocess.PIPE, text=True) for _ in range(2)
    ]
    assert [process.communicate(timeout=120)[0] for process in running] == ["350\n", "350\n"]
    with sqlite3.connect(cache_folder() / "verdicts.sqlite") as store:
        assert store.execute("SELECT count(*) FROM verdicts").fetchone() == (350,)


def test_real_photographs(shared):
    source = open_source(shared / "clothing")
    small = {name: split.take(np.arange(0, len(split), 20)) for name, split in source.splits.items()}
    scan = scan_source(replace(source, splits=small))
    assert sum(row.images for row in scan.rows) == sum(map(len, small.values()))
    assert not any(scan.damaged.values())
