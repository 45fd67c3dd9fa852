"""``leannet serve``: an exported network behind HTTP."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from leannet_runtime.errors import UserError

__all__ = ["read_token", "serve"]

MEBIBYTE = 2**20


def serve(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="An ONNX file that leannet export has written.")],
    host: Annotated[str, typer.Option(help="Address to listen on; this machine alone by default.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535, help="Port to listen on; 0 takes a free one.")] = 8000,
    max_batch: Annotated[int, typer.Option(min=1, help="Most images that go through the network together.")] = 32,
    max_wait_ms: Annotated[float, typer.Option(min=0, help="How long an image waits for others at most.")] = 2.0,
    queue: Annotated[int, typer.Option(min=1, help="Images that may wait; more are refused with 503.")] = 256,
    max_body_mb: Annotated[float, typer.Option(help="Largest request in MiB; a larger one is refused with 413.")] = 32,
    timeout_s: Annotated[
        float, typer.Option(help="Seconds for a request to arrive (408), and again for its answer (504).")
    ] = 30,
    token_file: Annotated[
        Path | None, typer.Option(help="File with a token that clients must send as Authorization: Bearer TOKEN.")
    ] = None,
    threads: Annotated[
        int | None, typer.Option(min=1, help="Threads of the network; one for each core by default.")
    ] = None,
) -> None:
    """Answer images over HTTP: POST /predict, a page at /, /health, /metrics for Prometheus, /docs.

    Stops at Ctrl+C or SIGTERM, after it has answered what it took.
    """
    for option, value in (("--max-body-mb", max_body_mb), ("--timeout-s", timeout_s)):
        if not 0 < value < 1e6:
            raise UserError(f"{option} {value:g}", "it must be above 0", "Leave it away for the default")
    token = None if token_file is None else read_token(token_file)
    try:
        import onnxruntime  # noqa: F401
        import python_multipart  # noqa: F401

        from leannet_runtime import serving
    except ModuleNotFoundError as error:
        why = f"it needs {error.name}, which is not installed"
        raise UserError("leannet serve", why, "Run: pip install 'leannet[serve]'") from None
    import numpy as np

    from leannet_runtime import load
    from leannet_runtime.serving.server import bind, is_loopback

    predictor = load(file, threads=threads, spinning=False)  # requests are read on the same cores
    size = predictor.preprocessing.img_size
    predictor.run([np.zeros((size, size, 3), np.uint8)])  # the first call is slow, and a network that fails is seen now
    limits = serving.Limits(body_bytes=int(max_body_mb * MEBIBYTE), timeout_s=timeout_s, queue=queue)
    app = serving.make_app(
        predictor, file.name, limits=limits, max_batch=max_batch, max_wait_s=max_wait_ms / 1000, token=token
    )
    listener = bind(host, port)
    if token is None and not is_loopback(listener):
        note = "note: whoever reaches this address may use the server; --token-file asks for a token"
        typer.echo(f"leannet: {note}", err=True)
    address, number = listener.getsockname()[:2]
    url = f"http://{f'[{address}]' if ':' in address else address}:{number}"
    serving.serve(app, limits, listener, lambda: typer.echo(f"serving {file.name} at {url} (Ctrl+C stops)"))


def read_token(file: Path) -> str:
    """Read a token from the file that has nothing else in it.

    Raises:
        UserError: The file cannot be read, or what it has cannot stand in a header.
    """
    try:
        token = file.read_text(encoding="utf-8").strip()
    except (OSError, ValueError) as error:
        why = (isinstance(error, OSError) and error.strerror) or "it is not text"
        raise UserError(f"--token-file {file}", why, "Give a file with one line of text") from None
    if not token or not token.isascii() or not token.isprintable() or " " in token:
        why = "a token is one word of printable ASCII characters"
        raise UserError(f"--token-file {file}", why, "Write one, say with: openssl rand -hex 32") from None
    return token
