"""Requests that nobody sends by mistake: none is answered by a crash, and the server is right afterwards."""

import contextlib
import io
import json
import struct
import zlib

import pytest
from PIL import Image
from served import image_bytes, read_all, serving

from leannet_runtime import UserError
from leannet_runtime.serving import Limits
from leannet_runtime.serving.predictions import image_size
from leannet_runtime.serving.uploads import readable_name


@pytest.fixture(autouse=True)
def _right_afterwards(served):
    yield
    assert served.is_right()


def png_that_claims(width, height):
    """Return a PNG whose head promises a size, with next to nothing behind it."""

    def chunk(kind, data):
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    head = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + head + chunk(b"IDAT", zlib.compress(bytes(1000))) + chunk(b"IEND", b"")


@pytest.mark.parametrize("size", [(2**16, 2**16), (2**26 + 1, 1), (2**31 - 1, 2**31 - 1), (8193, 8192)])
def test_decompression_bomb(served, size):
    refused = served.post(png_that_claims(*size))
    assert refused.status_code == 422
    assert "pixels" in refused.json()[0]["error"]


def test_a_large_picture_that_ends_early(served):
    refused = served.post(png_that_claims(8000, 8000))
    assert refused.status_code == 422


def test_formats_that_strangers_may_not_choose(served):
    """Pillow knows all of these; EPS it would hand to Ghostscript."""
    eps = b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 10 10\n%%EndComments\n(hello) print\n"
    with pytest.raises(UserError):
        image_size(eps)
    files = {"eps": eps}
    for kind in ("TGA", "PCX", "ICNS", "DDS", "SGI", "PPM", "ICO"):
        stream = io.BytesIO()
        Image.new("RGB", (64, 64), "red").save(stream, kind)
        files[kind] = stream.getvalue()
    for data in files.values():
        refused = served.post(data)
        assert refused.status_code == 422
        assert "of another kind than JPEG" in refused.json()[0]["error"]


def test_formats_that_phones_and_browsers_send(served):
    for kind in ("JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF", "MPO", "AVIF"):
        answer = served.post(image_bytes("red", (64, 64), kind))
        assert (kind, answer.status_code) == (kind, 200)
        assert answer.json()[0]["labels"][0] == "red"


def test_every_prefix_of_an_image(served):
    for kind in ("PNG", "JPEG", "GIF", "WEBP", "BMP", "TIFF"):
        whole = image_bytes((10, 200, 30), (40, 30), kind)
        for end in range(1, len(whole), max(len(whole) // 12, 1)):
            answer = served.post(whole[:end])
            assert answer.status_code in (200, 422), (kind, end)


def test_names_keep_what_can_be_read():
    assert readable_name("ä€😀 <b>.png") == "ä€😀 <b>.png"
    assert readable_name("a\0b\r\n\x1b[31m\ud800") == "a�b���[31m�"
    assert readable_name("") == readable_name(None) == "image"


def form(*parts, end=b"--B--\r\n"):
    """Return what to post, as it is: a client library would clean it."""
    body = b"".join(b"--B\r\n" + head + b"\r\n\r\n" + data + b"\r\n" for head, data in parts) + end
    return {"content": body, "headers": {"content-type": "multipart/form-data; boundary=B"}}


def part(name):
    return b'Content-Disposition: form-data; name="f"; filename="' + name + b'"'


@pytest.mark.parametrize(
    "name",
    [
        "../../etc/passwd",
        "/etc/passwd",
        "<script>alert(1)</script>",
        "a\tb",
        "name;x=1",
        "%00%2f",
        "x" * 1000,
        "ä€😀.png",
    ],
)
def test_file_names_are_echoed_as_text(served, tmp_path, monkeypatch, name):
    monkeypatch.chdir(tmp_path)
    answer = served.client.post("/predict", **form((part(name.encode()), image_bytes("red"))))
    assert answer.headers["content-type"].startswith("application/json")
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert answer.json()[0]["labels"][0] == "red"
    assert answer.json()[0]["name"] == readable_name(name)
    assert len(answer.json()[0]["name"]) <= 200
    assert list(tmp_path.iterdir()) == []


def test_nul_bytes_and_broken_encodings_in_names(served):
    for name in (b"a\0b.png", b"\xff\xfe\x00", b"\x80" * 50, b"%00%0d%0a", b"=?utf-8?q?=00?="):
        answer = served.client.post("/predict", **form((part(name), image_bytes("red"))))
        if answer.status_code == 200:
            assert answer.json()[0]["labels"][0] == "red"
            assert answer.json()[0]["name"].isprintable()
        else:
            assert answer.status_code == 400


def test_forms_that_are_none(served):
    red = image_bytes("red")
    right = (part(b"a"), red)
    many = ((b'Content-Disposition: form-data; name="x"', b"y"),) * 1000
    broken = [
        form(),
        form(end=b""),
        form((b"X: y", red)),
        form((b'Content-Disposition: form-data; name="f"', red)),
        form((b"X: " + b"y" * 100_000, red)),
        form(*many, right),
        form((b'Content-Disposition: form-data; name="f"', bytes(100_000))),
        {"content": b"", "headers": {"content-type": "multipart/form-data; boundary=B"}},
        {"content": red, "headers": {"content-type": "multipart/form-data"}},
        {"content": red, "headers": {"content-type": "multipart/form-data; boundary=" + "B" * 1000}},
        {"content": b"\r\n" * 50_000, "headers": {"content-type": "multipart/form-data; boundary=B"}},
    ]
    for each in broken:
        refused = served.client.post("/predict", **each)
        assert (refused.status_code, list(refused.json())) == (400, ["error"]), each["content"][:100]
    assert served.client.post("/predict", **form(right)).status_code == 200


@pytest.mark.parametrize("kind", ["application/json", "text/html", "application/x-www-form-urlencoded", "", "imag"])
def test_other_kinds_of_bodies(served, kind):
    refused = served.client.post("/predict", content=image_bytes("red"), headers={"content-type": kind})
    assert (refused.status_code, list(refused.json())) == (415, ["error"])


def test_an_empty_body(served):
    assert served.post(b"").status_code == 400
    assert served.client.post("/predict").status_code == 415


def test_other_methods_and_addresses(served):
    for method, address, status in (
        ("GET", "/predict", 405),
        ("DELETE", "/predict", 405),
        ("POST", "/", 405),
        ("GET", "/../../etc/passwd", 404),
        ("GET", "/%2e%2e/%2e%2e/etc/passwd", 404),
        ("GET", "/page.html", 404),
        ("GET", "/%00", 404),
    ):
        refused = served.client.request(method, address)
        assert (refused.status_code, list(refused.json())) == (status, ["error"])


@pytest.mark.parametrize(
    "sent",
    [
        b"nonsense\r\n\r\n",
        b"GET / HTTP/1.1\r\n\r\n",  # no Host
        b"GET / HTTP/1.1\r\nHost: x\r\nA: " + b"b" * 1_000_000 + b"\r\n\r\n",
        b"GET /" + b"a" * 100_000,
        b"POST /predict HTTP/1.1\r\nHost: x\r\nContent-Length: -1\r\n\r\n",
        b"POST /predict HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n",
        b"POST /predict HTTP/1.1\r\nHost: x\r\nContent-Type: image/png\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",  # a browser that tries TLS
        b"\0" * 1000,
    ],
)
def test_what_is_no_http(served, sent):
    received = b""
    with served.connect() as connection, contextlib.suppress(ConnectionError):  # it may hang up before all is sent
        connection.sendall(sent)
        with contextlib.suppress(OSError):
            connection.shutdown(1)
        while piece := connection.recv(4096):
            received += piece
        assert received == b"" or received.startswith(b"HTTP/1.1 400")


def test_clients_that_leave_in_the_middle(capfd):
    head = b"POST /predict HTTP/1.1\r\nHost: x\r\nContent-Type: image/png\r\nContent-Length: 1000\r\n\r\n"
    with serving(limits=Limits(queue=2)) as served:
        for _ in range(20):
            with served.connect() as connection:
                connection.sendall(head + b"x" * 500)
        assert served.is_right()
        with served.connect() as connection:
            connection.sendall(b"GET /health HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
            assert read_all(connection)[0] == 200
    lines = [json.loads(line) for line in capfd.readouterr().err.splitlines()]
    assert [line["status"] for line in lines if line["route"] == "/predict"] == [499] * 20 + [200]
