"""The page to try the network out, and the page that describes the addresses; neither loads anything from elsewhere."""

from __future__ import annotations

import base64
import functools
import hashlib
import html
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from starlette.responses import HTMLResponse, Response

__all__ = ["docs_page", "start_page"]


def start_page() -> Response:
    """Return the page that classifies images chosen in the browser."""
    return _page(_read_page())


def docs_page(openapi: dict[str, Any]) -> Response:
    """Return a page that lists what OpenAPI describes.

    Args:
        openapi: The description, as ``/openapi.json`` has it.
    """
    title = html.escape(openapi["info"]["title"])
    style = re.search(r"<style>.*?</style>", _read_page(), re.DOTALL)
    assert style is not None
    head = f'<meta charset="utf-8"><meta name="viewport" content="width=device-width"><title>{title}</title>{style[0]}'
    intro = '<p>For programs: <a href="/openapi.json">/openapi.json</a>. To try it out: <a href="/">the page</a>.</p>'
    body = "".join(_operations(openapi))
    main = f"<main><h1>{title}</h1>{intro}{body}</main>"
    return _page(f'<!doctype html><html lang="en"><head>{head}</head><body>{main}</body></html>')


def _operations(openapi: dict[str, Any]) -> Iterator[str]:
    for path, methods in openapi["paths"].items():
        for method, operation in methods.items():
            yield f"<h2><code>{method.upper()} {html.escape(path)}</code></h2>"
            yield f"<p>{html.escape(operation.get('summary', ''))}. {html.escape(operation.get('description', ''))}</p>"
            rows = [
                (f"?{each['name']}=", f"{each.get('description', '')}; {each['schema'].get('default')} by default")
                for each in operation.get("parameters", ())
            ]
            rows += [("body", kind) for kind in operation.get("requestBody", {}).get("content", ())]
            rows += [(status, answer["description"]) for status, answer in operation["responses"].items()]
            yield "<table>"
            yield from (f"<tr><th>{html.escape(a)}</th><td>{html.escape(b)}</td></tr>" for a, b in rows)
            yield "</table>"


@functools.cache
def _read_page() -> str:
    return (Path(__file__).parent / "page.html").read_text(encoding="utf-8")


def _page(text: str) -> Response:
    """Answer with a page that may run and look like just what is written in it."""
    sources = {tag: " ".join(_hashes(text, tag)) or "'none'" for tag in ("script", "style")}
    policy = (
        f"default-src 'none'; script-src {sources['script']}; style-src {sources['style']}; img-src 'self' blob:; "
        "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    )
    return HTMLResponse(text, headers={"content-security-policy": policy})


def _hashes(text: str, tag: str) -> Iterator[str]:
    for inside in re.findall(f"<{tag}>(.*?)</{tag}>", text, re.DOTALL):
        digest = base64.b64encode(hashlib.sha256(inside.encode()).digest()).decode()
        yield f"'sha256-{digest}'"
