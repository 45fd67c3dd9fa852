"""Stands before the application: who may ask, how much may be sent and how slowly, what is written down of it."""

from __future__ import annotations

import asyncio
import contextlib
import hmac
import time
from collections.abc import Iterable

from starlette.datastructures import Headers
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from leannet_runtime.serving.limits import MEBIBYTE, Limits, Refusal
from leannet_runtime.serving.observing import Metrics, write_line

__all__ = ["CLIENT_GONE", "Exchange", "Guard", "refusal_response"]

# Whoever refuses a body and closes at once resets the connection, and the client may never read why. So a little more
# is read and thrown away.
LINGER_SECONDS = 1.0
LINGER_BYTES = 2 * MEBIBYTE

OPEN_TO_ALL = {"/", "/health", "/favicon.ico"}
ROUTES = {*OPEN_TO_ALL, "/predict", "/metrics", "/docs", "/openapi.json"}
CLIENT_GONE = 499  # nginx's number

HEADERS = {
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",
    "cross-origin-resource-policy": "same-origin",
    "permissions-policy": "camera=(self), microphone=(), geolocation=()",
    "cache-control": "no-store",
    "content-security-policy": "default-src 'none'; frame-ancestors 'none'",
}


def refusal_response(refusal: Refusal) -> JSONResponse:
    """Return the answer that a refusal is."""
    return JSONResponse({"error": refusal.why}, refusal.status, refusal.headers)


class Exchange:
    """A request and its answer on their way through.

    Args:
        guard: Has the limits, and counts what all exchanges have read.
        scope: ASGI's.
        receive: ASGI's.
        send: ASGI's.
    """

    def __init__(self, guard: Guard, scope: Scope, receive: Receive, send: Send) -> None:
        self.headers = Headers(scope=scope)
        self.images = 0
        self.bytes = 0
        self.status = CLIENT_GONE
        self.begin = time.monotonic()
        self._guard = guard
        self._route = scope["path"] if scope["path"] in ROUTES else "other"
        self._noted = False
        self._receive = receive
        self._send = send
        announced = self.headers.get("content-length", "0")
        self.announced = int(announced) if announced.isdecimal() else 0
        self._complete = not self.announced and "transfer-encoding" not in self.headers
        self._linger = False

    async def receive(self) -> Message:
        """Receive a piece of the body, within the limits."""
        if self._complete:
            return await self._receive()
        limits = self._guard.limits
        try:
            left = self.begin + limits.timeout_s - time.monotonic()
            message = await asyncio.wait_for(self._receive(), max(left, 0))
        except asyncio.TimeoutError:
            raise Refusal(408, f"the body did not arrive within {limits.timeout_s:g} seconds") from None
        if message["type"] == "http.request":
            size = len(message.get("body", b""))
            self._complete = not message.get("more_body", False)
            self.bytes += size
            self._guard.bytes_held += size
            if self.bytes > limits.body_bytes:
                raise self._guard.too_large()
            if self._guard.bytes_held > limits.all_bodies_bytes:
                raise Refusal(503, "too much is being sent at a time: try again later", {"Retry-After": "1"})
        return message

    async def send(self, message: Message) -> None:
        """Send a piece of the answer; after one that came before the whole body, the connection is closed."""
        if message["type"] == "http.response.start":
            self.status = message["status"]
            message = {**message, "headers": [*_with_defaults(message.get("headers", ()))]}
            if not self._complete:
                message["headers"].append((b"connection", b"close"))
                self._linger = self.status != 408 and self.headers.get("expect", "").lower() != "100-continue"
        elif not message.get("more_body", False):
            self.note()  # before the client has it all, who may look at the figures at once
            if self._linger:
                await self._send({**message, "more_body": True})
                with contextlib.suppress(asyncio.TimeoutError):
                    await asyncio.wait_for(self._throw_away(), LINGER_SECONDS)
                message = {"type": "http.response.body", "body": b""}
        await self._send(message)

    def note(self) -> None:
        """Count the request and write its line, once."""
        if self._noted:
            return
        self._noted = True
        seconds = time.monotonic() - self.begin
        metrics = self._guard.metrics
        metrics.requests.labels(str(self.status)).inc()
        if self._route == "/predict":
            metrics.latency.observe(seconds)
        milliseconds = round(1000 * seconds, 2)
        write_line(route=self._route, status=self.status, images=self.images, ms=milliseconds, bytes=self.bytes)

    async def _throw_away(self) -> None:
        left = LINGER_BYTES
        while left > 0:
            message = await self._receive()
            left -= len(message.get("body", b""))
            if not message.get("more_body", False):
                return


class Guard:
    """An ASGI application around another.

    Args:
        app: The one that answers; it finds the `Exchange` in its scope.
        limits: Of bodies and times.
        token: What clients must show; None lets everybody in.
        metrics: Where requests are counted.
    """

    def __init__(self, app: ASGIApp, limits: Limits, token: str | None, metrics: Metrics) -> None:
        self.app = app
        self.limits = limits
        self.token = None if token is None else token.encode()
        self.metrics = metrics
        self.bytes_held = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle one request, or what belongs to none."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        exchange = Exchange(self, scope, receive, send)
        try:
            self._check(exchange, scope["path"])
            await self.app({**scope, "exchange": exchange}, exchange.receive, exchange.send)
        except Refusal as refusal:
            await refusal_response(refusal)(scope, exchange.receive, exchange.send)
        finally:
            self.bytes_held -= exchange.bytes
            exchange.note()

    def too_large(self) -> Refusal:
        """Return the refusal of a body above the limit."""
        return Refusal(413, f"the body is larger than the limit of {self.limits.body_bytes:,} bytes")

    def _check(self, exchange: Exchange, path: str) -> None:
        """Refuse what can be refused before the body is read."""
        if self.token is not None and path not in OPEN_TO_ALL:
            kind, _, given = exchange.headers.get("authorization", "").partition(" ")
            right = hmac.compare_digest(given.strip().encode(), self.token)
            if kind.lower() != "bearer" or not right:
                why = "this server wants a token: send the header Authorization: Bearer TOKEN"
                raise Refusal(401, why, {"WWW-Authenticate": "Bearer"})
        if exchange.announced > self.limits.body_bytes:
            raise self.too_large()


def _with_defaults(headers: Iterable[tuple[bytes, bytes]]) -> Iterable[tuple[bytes, bytes]]:
    """Yield the headers of an answer, and those of `HEADERS` that it does not have."""
    given = list(headers)
    names = {name.lower() for name, _ in given}
    yield from given
    yield from ((name.encode(), value.encode()) for name, value in HEADERS.items() if name.encode() not in names)
