"""Requests that nobody sends by mistake, twenty of each kind: what became of them, in a word each."""

from __future__ import annotations

import asyncio
import collections
import random
import struct
import zlib
from collections.abc import AsyncIterator, Callable

__all__ = ["KINDS", "PATIENCE", "be_hostile"]

OF_EACH_KIND = 20
PATIENCE = 60.0  # seconds until a request counts as not answered
HUNDRED_MEGABYTES = 100_000_000
PIECE = bytes(1_000_000)
SLOWLY = 0.5  # seconds between two bytes


def request(body: bytes, kind: str = "image/png", address: str = "/predict", length: int | None = None) -> bytes:
    announced = len(body) if length is None else length
    head = f"POST {address} HTTP/1.1\r\nHost: x\r\nContent-Type: {kind}\r\nContent-Length: {announced}\r\n\r\n"
    return head.encode() + body


def bomb(generator: random.Random) -> bytes:
    """Return a PNG of a few bytes that promises up to 2^62 pixels."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    side = generator.choice((2**14, 2**16, 2**31 - 1))
    head = chunk(b"IHDR", struct.pack(">IIBBBBB", side, side, 8, 2, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + head + chunk(b"IDAT", zlib.compress(bytes(1000))) + chunk(b"IEND", b"")


def form(name: str, content: bytes) -> bytes:
    part = f'--B\r\nContent-Disposition: form-data; name="files"; filename="{name}"\r\nContent-Type: image/png\r\n\r\n'
    return part.encode() + content + b"\r\n--B--\r\n"


NAMES = ("../../etc/passwd", "/etc/passwd", "C:\\boot.ini", "a\0b.png", "~/.ssh/id_rsa")
CHUNKED = b"POST /predict HTTP/1.1\r\nHost: x\r\nContent-Type: image/png\r\nTransfer-Encoding: chunked\r\n\r\n"
FORM = "multipart/form-data; boundary=B"

KINDS: dict[str, Callable[[bytes, random.Random], bytes]] = {
    "decompression bomb": lambda _, chance: request(bomb(chance)),
    "truncated image": lambda file, chance: request(file[: chance.randrange(2, len(file) // 2)], "image/jpeg"),
    "noise as an image": lambda _, chance: request(chance.randbytes(5000)),
    "wrong type": lambda file, chance: request(file, chance.choice(("text/x", "application/json", "image\0"))),
    "path as a file name": lambda _, chance: request(form(chance.choice(NAMES), b"root:x:0:0"), FORM),
    "form without an end": lambda file, _: request(b"--B\r\n" * 1000 + file[:100], FORM),
    "wrong length": lambda file, chance: request(file, length=chance.choice((10**30, -1, len(file) // 2))),
    "wrong address or option": lambda file, chance: request(
        file, "image/jpeg", chance.choice(("/../../etc/passwd", "/%00", "nonsense", "/predict?topk=-1"))
    ),
    "100 MB": lambda _, chance: request(b"", length=HUNDRED_MEGABYTES) if chance.random() < 0.5 else CHUNKED,
    "slow body": lambda file, _: request(file[:1], "image/jpeg", length=len(file)),
}


async def be_hostile(port: int, files: list[bytes]) -> dict[str, dict[str, int]]:
    """Send them all, the slow ones at the same time.

    Args:
        port: Of the server, on 127.0.0.1.
        files: Images that it would answer.

    Returns:
        By kind: how often which status came, or "closed", or "not answered".
    """
    generator = random.Random(0)
    outcomes = {}
    for kind, make in KINDS.items():
        sent = [make(files[number % len(files)], generator) for number in range(OF_EACH_KIND)]
        asked = (send(port, each, rest(kind, each, files[0])) for each in sent)
        found = await asyncio.gather(*asked) if kind == "slow body" else [await each for each in asked]
        outcomes[kind] = dict(collections.Counter(found))
    return outcomes


async def rest(kind: str, begun: bytes, file: bytes) -> AsyncIterator[bytes]:
    """Yield what follows the first bytes."""
    if kind == "slow body":
        for place in range(1, len(file)):
            await asyncio.sleep(SLOWLY)
            yield file[place : place + 1]
    elif kind == "100 MB":
        for _ in range(HUNDRED_MEGABYTES // len(PIECE)):
            yield b"%x\r\n%b\r\n" % (len(PIECE), PIECE) if begun is CHUNKED else PIECE
        if begun is CHUNKED:
            yield b"0\r\n\r\n"


async def send(port: int, begun: bytes, following: AsyncIterator[bytes]) -> str:
    """Send a request as far as the server takes it; return the status, "closed", or "not answered"."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)

    async def push() -> None:
        writer.write(begun)
        async for piece in following:
            writer.write(piece)
            await writer.drain()

    pushing = asyncio.create_task(push())
    try:
        answer = await asyncio.wait_for(reader.read(2**16), PATIENCE)
        return answer.split()[1].decode() if answer else "closed"
    except asyncio.TimeoutError:
        return "not answered"
    except OSError:
        return "closed"
    finally:
        pushing.cancel()
        await asyncio.gather(pushing, return_exceptions=True)
        writer.close()
