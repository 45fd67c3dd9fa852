"""uvicorn, with the limits that it lacks and an end without loss."""

from __future__ import annotations

import asyncio
import ipaddress
import logging
import os
import signal
import socket
from collections.abc import Callable
from typing import Any

from starlette.types import ASGIApp
from uvicorn import Config, Server
from uvicorn.protocols.http.h11_impl import H11Protocol

from leannet_runtime.errors import UserError
from leannet_runtime.serving.limits import Limits
from leannet_runtime.serving.observing import JsonHandler

__all__ = ["bind", "is_loopback", "make_server", "serve"]

HEAD_SECONDS = 15.0  # for the head of a request to arrive, which uvicorn would wait for without end
MOST_CONNECTIONS = 512
KEEP_ALIVE_SECONDS = 10


class BoundedProtocol(H11Protocol):
    """A connection that is cut when no head of a request comes in time, or when there are too many connections."""

    head_seconds = HEAD_SECONDS
    most_connections = MOST_CONNECTIONS
    _clock: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Begin a connection."""
        super().connection_made(transport)
        # asyncio does so just for sockets that name their protocol, which accepted ones do not; without, the body of
        # an answer waits for the client to acknowledge its head, which systems put off for 40 ms.
        transport.get_extra_info("socket").setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if len(self.connections) > self.most_connections:
            transport.abort()
        self._watch()

    def connection_lost(self, exc: Exception | None) -> None:
        """End a connection."""
        super().connection_lost(exc)
        self._stop_clock()

    def data_received(self, data: bytes) -> None:
        """Take what has arrived."""
        super().data_received(data)
        self._watch()

    def on_response_complete(self) -> None:
        """Wait for the next request."""
        super().on_response_complete()
        self._watch()

    def _watch(self) -> None:
        """Let the clock run as long as there is no request to answer."""
        if self.transport.is_closing() or (self.cycle is not None and not self.cycle.response_complete):
            self._stop_clock()
        elif self._clock is None:
            self._clock = self.loop.call_later(self.head_seconds, self.transport.abort)

    def _stop_clock(self) -> None:
        if self._clock is not None:
            self._clock.cancel()
            self._clock = None


def bind(host: str, port: int) -> socket.socket:
    """Open the socket to listen on; port 0 takes any that is free.

    Raises:
        UserError: The address does not exist here, or the port is taken.
    """
    try:
        family, _, _, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)[0]
        return socket.create_server((str(address[0]), port), family=family, backlog=1024)
    except (OSError, OverflowError, UnicodeError) as error:
        number = error.errno if isinstance(error, OSError) else None
        why = os.strerror(number) if number is not None and number > 0 else str(error)  # below 0: of getaddrinfo
        raise UserError(f"cannot listen on {host} port {port}", why, "Pass another --host or --port") from None


def is_loopback(listener: socket.socket) -> bool:
    """Say whether only this machine reaches the socket."""
    return ipaddress.ip_address(listener.getsockname()[0].partition("%")[0]).is_loopback


def make_server(app: ASGIApp, limits: Limits) -> Server:
    """Make a uvicorn server that leaves logging to the application and has time to answer what it took."""
    config = Config(
        app,
        http=BoundedProtocol,
        ws="none",
        loop="asyncio",
        lifespan="on",
        log_config=None,
        access_log=False,
        server_header=False,
        proxy_headers=False,
        timeout_keep_alive=KEEP_ALIVE_SECONDS,
        timeout_graceful_shutdown=int(2 * limits.timeout_s) + 5,
    )
    return Server(config)


def serve(app: ASGIApp, limits: Limits, listener: socket.socket, on_ready: Callable[[], Any] = lambda: None) -> None:
    """Answer until SIGTERM or SIGINT; then take nothing new, answer what was taken, and return.

    Args:
        app: Of `make_app`.
        limits: The same as the application's.
        listener: Of `bind`; closed at the end.
        on_ready: Called when requests are answered.

    Raises:
        KeyboardInterrupt: A second SIGINT came before everything was answered.
    """
    logger = logging.getLogger("uvicorn.error")
    logger.handlers[:], logger.propagate = [JsonHandler()], False
    logger.setLevel(logging.WARNING)
    server = make_server(app, limits)
    # uvicorn ends by raising the signal again for the handler that was there before it.
    before = {number: signal.signal(number, lambda *_: None) for number in (signal.SIGTERM, signal.SIGINT)}
    try:
        asyncio.run(_serve(server, listener, on_ready))
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
    if server.force_exit:
        raise KeyboardInterrupt


async def _serve(server: Server, listener: socket.socket, on_ready: Callable[[], Any]) -> None:
    async def tell() -> None:
        while not server.started:
            await asyncio.sleep(0.01)
        on_ready()

    telling = asyncio.get_running_loop().create_task(tell())
    await server.serve(sockets=[listener])
    telling.cancel()
