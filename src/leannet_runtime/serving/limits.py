"""What a request may cost, and how it is told that it may not."""

from __future__ import annotations

import asyncio
import contextlib
from collections import deque
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass

from leannet_runtime.errors import UserError

__all__ = ["Limits", "PixelBudget", "Refusal"]

MEBIBYTE = 2**20


@dataclass(frozen=True)
class Limits:
    """What the server takes on.

    Args:
        body_bytes: Largest body of a request; above it the answer is 413.
        timeout_s: Seconds for a body to arrive (408), and again seconds for its answer (504).
        queue: Images that may wait for the network or be in it; above it the answer is 503.
        files: Images in one request (413); never more than `queue`.
        all_bodies_bytes: What the bodies of all requests may take together; above it the answer is 503. By default
            eight of the largest, and at least 256 MiB.
        pixels: Pixels of all decoded images together. Above it images wait; one alone is always let through.

    Raises:
        UserError: A limit is not above 0.
    """

    body_bytes: int = 32 * MEBIBYTE
    timeout_s: float = 30.0
    queue: int = 256
    files: int = 64
    all_bodies_bytes: int = 0
    pixels: int = 2**27

    def __post_init__(self) -> None:
        for name in ("body_bytes", "timeout_s", "queue", "files", "pixels"):
            if not getattr(self, name) > 0:
                raise UserError(f"{name} {getattr(self, name)}", "nothing could be served", "Give more than 0")
        object.__setattr__(self, "files", min(self.files, self.queue))
        if not self.all_bodies_bytes:
            object.__setattr__(self, "all_bodies_bytes", max(8 * self.body_bytes, 256 * MEBIBYTE))


class Refusal(Exception):  # noqa: N818 -- an answer, not an error of the server
    """A request that is not carried out.

    Args:
        status: HTTP status of the answer.
        why: The reason, for the client.
        headers: Headers of the answer.
    """

    def __init__(self, status: int, why: str, headers: Mapping[str, str] | None = None) -> None:
        super().__init__(why)
        self.status = status
        self.why = why
        self.headers = dict(headers or {})


class PixelBudget:
    """Lets decoded images into memory in the order they came, as many as fit together.

    Args:
        pixels: How many pixels fit. An image with more takes the whole budget.
    """

    def __init__(self, pixels: int) -> None:
        self.total = self.free = pixels
        self._waiting: deque[tuple[int, asyncio.Future[None]]] = deque()

    @contextlib.asynccontextmanager
    async def hold(self, pixels: int) -> AsyncIterator[None]:
        """Wait until so many pixels fit, and keep their place until the block ends."""
        pixels = min(pixels, self.total)
        place: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.append((pixels, place))
        self._admit()
        try:
            await place
            yield
        finally:
            if place.done() and not place.cancelled():
                self.free += pixels
            else:
                place.cancel()
            self._admit()

    def _admit(self) -> None:
        """Give out places, oldest first; a large image is not overtaken for ever by small ones."""
        while self._waiting:
            pixels, place = self._waiting[0]
            if place.done():  # its request has gone
                self._waiting.popleft()
            elif pixels <= self.free:
                self._waiting.popleft()
                self.free -= pixels
                place.set_result(None)
            else:
                return
