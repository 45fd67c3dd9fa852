"""The archive of npm: fetched once, refused when it is another one, and never trusted with a path."""

import base64
import hashlib
import io
import tarfile

import pytest
from web_pages import serve

from leannet.deploy.web.archive import ONNXRUNTIME_WEB, Archive, runtime_files
from leannet.deploy.web.page import check_folder
from leannet_runtime import UserError
from leannet_runtime.files import cache_folder

pytestmark = pytest.mark.slow  # the page of the last tests takes an export

FILES = {"package/dist/run.mjs": b"script", "package/dist/run.wasm": b"program"}


def tarball():
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w:gz") as archive:
        for name, content in {"../../evil": b"", "/tmp/evil": b"", "package/dist/run.mjs.map": b"", **FILES}.items():
            member = tarfile.TarInfo(name)
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
        link = tarfile.TarInfo("package/link")
        link.type, link.linkname = tarfile.SYMTYPE, "/etc/passwd"
        archive.addfile(link)
    return stream.getvalue()


@pytest.fixture
def content(tmp_path):
    made = tarball()
    (tmp_path / "registry").mkdir()
    (tmp_path / "registry" / "fake-1.0.tgz").write_bytes(made)
    return made


def archive_at(address, content):
    sha512 = base64.b64encode(hashlib.sha512(content).digest()).decode()
    members = (("package/dist/run.mjs", "run.mjs"), ("package/dist/run.wasm", "run.wasm"))
    return Archive("fake 1.0", f"{address}fake-1.0.tgz", sha512, len(content), members)


NOWHERE = "http://127.0.0.1:1/"  # a port where nobody listens


def files_below(folder):
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())


def test_it_is_fetched_once_and_only_what_is_needed_is_taken(content, tmp_path):
    steps = []
    with serve(tmp_path / "registry") as address:
        archive = archive_at(address, content)
        found = runtime_files(archive=archive, on_step=steps.append)
    assert found == {"run.mjs": b"script", "run.wasm": b"program"}
    assert files_below(cache_folder()) == ["fake-1.0.tgz"]
    assert len(steps) == 1
    assert runtime_files(archive=archive, on_step=steps.append) == found  # the server is gone
    assert len(steps) == 1


@pytest.mark.parametrize("spoil", [lambda content: content[:-1] + b"?", lambda content: content + b"more"])
def test_another_archive_is_refused_and_nothing_is_left(content, tmp_path, spoil):
    (tmp_path / "registry" / "fake-1.0.tgz").write_bytes(spoil(content))
    with serve(tmp_path / "registry") as address, pytest.raises(UserError, match="another hash than the one known"):
        runtime_files(archive=archive_at(address, content))
    assert not cache_folder().exists() or files_below(cache_folder()) == []


def test_a_damaged_cache_is_fetched_again(content, tmp_path):
    cache_folder().mkdir(parents=True)
    kept = cache_folder() / "fake-1.0.tgz"
    kept.write_bytes(content[: len(content) // 2])
    with serve(tmp_path / "registry") as address:
        assert runtime_files(archive=archive_at(address, content))["run.mjs"] == b"script"
    assert kept.read_bytes() == content


def test_no_place_to_keep_it_is_no_reason_to_stop(content, tmp_path, monkeypatch):
    (tmp_path / "file").write_text("in the way")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    with serve(tmp_path / "registry") as address:
        assert runtime_files(archive=archive_at(address, content))["run.mjs"] == b"script"


def test_no_network_is_one_clear_line(content):
    with pytest.raises(UserError) as raised:
        runtime_files(archive=archive_at(NOWHERE, content))
    said = str(raised.value)
    assert said.startswith("cannot fetch fake 1.0: the npm registry cannot be reached (")
    assert said.endswith(f"Fetch {NOWHERE}fake-1.0.tgz where there is a network, and pass it: --web-runtime FILE.")
    assert "\n" not in said


def test_a_given_file_needs_no_network(content, tmp_path):
    given = tmp_path / "registry" / "fake-1.0.tgz"
    assert runtime_files(given, archive_at(NOWHERE, content))["run.wasm"] == b"program"
    given.write_bytes(b"something else")
    with pytest.raises(UserError, match=r"fake-1\.0\.tgz: its hash is not that of fake 1\.0"):
        runtime_files(given, archive_at(NOWHERE, content))
    with pytest.raises(UserError, match=r"cannot read .*nowhere: No such file"):
        runtime_files(tmp_path / "nowhere", archive_at(NOWHERE, content))


def test_the_real_one_comes_encrypted_from_the_registry():
    assert ONNXRUNTIME_WEB.url.startswith("https://registry.npmjs.org/onnxruntime-web/-/onnxruntime-web-")
    assert len(base64.b64decode(ONNXRUNTIME_WEB.sha512)) == 64


def test_the_real_one_holds_what_the_page_loads(runtime):
    assert runtime["ort-wasm-simd-threaded.wasm"][:4] == b"\0asm"
    assert b"ort-wasm-simd-threaded" in runtime["ort.wasm.bundle.min.mjs"]


def test_a_page_may_be_written_over_but_nothing_else(page_folder, tmp_path):
    check_folder(page_folder)
    check_folder(tmp_path)
    check_folder(tmp_path / "new")
    (tmp_path / "index.html").write_text("mine")
    with pytest.raises(UserError, match=r"the folder holds index\.html, and no earlier page"):
        check_folder(tmp_path)


def test_the_licence_lies_beside_what_it_is_for(page_folder):
    assert "Copyright (c) Microsoft Corporation" in (page_folder / "onnxruntime-web" / "LICENSE.txt").read_text()
