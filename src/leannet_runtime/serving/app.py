"""The application: what is answered at which address."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from typing import Annotated, Any

from fastapi import FastAPI, Query, Request
from fastapi.exceptions import RequestValidationError
from prometheus_client import CONTENT_TYPE_LATEST
from pydantic import BaseModel
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect
from starlette.responses import JSONResponse, Response
from starlette.types import ASGIApp

from leannet_runtime.serving.batcher import Batcher
from leannet_runtime.serving.guard import CLIENT_GONE, Exchange, Guard, refusal_response
from leannet_runtime.serving.limits import Limits, PixelBudget, Refusal
from leannet_runtime.serving.observing import Metrics
from leannet_runtime.serving.pages import docs_page, start_page
from leannet_runtime.serving.predictions import Pictures, Predictor
from leannet_runtime.serving.uploads import read_uploads
from leannet_runtime.version import __version__

__all__ = ["make_app"]


class Answered(BaseModel):
    """An image that the network answered; the likeliest label stands first."""

    name: str
    labels: list[str]
    probabilities: list[float]
    exit: int | None
    milliseconds: float


class Unanswered(BaseModel):
    """An image that could not be answered, and why."""

    name: str
    error: str


class Refused(BaseModel):
    """A request that was not carried out, and why."""

    error: str


class Health(BaseModel):
    """Which network is served, and what a request may have."""

    ready: bool
    model: str
    architecture: str | None
    classes: int | None
    sha256: str
    version: str
    token: bool
    max_body_bytes: int
    max_files: int


REFUSALS: dict[int | str, dict[str, Any]] = {
    400: {"model": Refused, "description": "No image, or a form that cannot be read"},
    401: {"model": Refused, "description": "The token is missing or wrong"},
    408: {"model": Refused, "description": "The body arrived too slowly"},
    413: {"model": Refused, "description": "The body is too large, or has too many images"},
    415: {"model": Refused, "description": "The body is neither a form nor an image"},
    422: {"model": list[Unanswered] | Refused, "description": "Not one image can be read, or topk is not valid"},
    500: {"model": list[Unanswered] | Refused, "description": "The network failed on every image"},
    503: {"model": Refused, "description": "Too many images are waiting; the header Retry-After says for how long"},
    504: {"model": Refused, "description": "No answer within the time"},
}

ANSWERS = {"model": list[Answered | Unanswered], "description": "For each image its labels, or why there are none"}

FILE = {"type": "string", "format": "binary"}
FORM = {"schema": {"type": "object", "properties": {"files": {"type": "array", "items": FILE}}}}
BODY = {"content": {"multipart/form-data": FORM, "image/*": {"schema": FILE}, "application/octet-stream": {}}}


def make_app(
    predictor: Predictor,
    name: str,
    *,
    limits: Limits | None = None,
    max_batch: int = 32,
    max_wait_s: float = 0.002,
    token: str | None = None,
) -> ASGIApp:
    """Make the ASGI application that serves a network.

    Args:
        predictor: Answers lists of pictures.
        name: What clients are told that the model is called.
        limits: What is taken on.
        max_batch: Most images that go through the network together.
        max_wait_s: How long an image may wait for others, in seconds.
        token: What clients must show at all addresses but the page and /health; None lets everybody in.
    """
    limits = limits or Limits()
    metrics = Metrics(lambda: batcher.reserved)
    batcher = Batcher(predictor.run, max_batch, max_wait_s, limits.queue, metrics.batch_size.observe)
    pictures = Pictures(batcher, PixelBudget(limits.pixels), predictor.label_names)

    @contextlib.asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        batcher.start()
        yield
        await batcher.close()
        pictures.close()

    app = FastAPI(title="leannet serve", version=__version__, docs_url=None, redoc_url=None, lifespan=lifespan)

    @app.post(
        "/predict", summary="Classify images", responses={200: ANSWERS, **REFUSALS},
        openapi_extra={"requestBody": {"required": True, **BODY}},
    )  # fmt: skip
    async def predict(
        request: Request, topk: Annotated[int, Query(ge=1, le=1000, description="How many labels")] = 5
    ) -> Response:
        """Send several files as a form, or one image as the body; the answers are in their order."""
        exchange: Exchange = request.scope["exchange"]
        batcher.check_room(1)  # before the body is read: refusing must cost little
        uploads = await read_uploads(request, limits.files)
        exchange.images = len(uploads)
        with batcher.reserve(len(uploads)):
            asked = asyncio.gather(*(pictures.answer(upload, topk) for upload in uploads))
            try:
                outcomes = await asyncio.wait_for(asked, limits.timeout_s)
            except asyncio.TimeoutError:
                raise Refusal(504, f"no answer within {limits.timeout_s:g} seconds") from None
        for outcome in outcomes:
            metrics.images.labels(outcome.kind).inc()
        kinds = {outcome.kind for outcome in outcomes}
        status = 200 if "answered" in kinds else 500 if "failed" in kinds else 422
        return JSONResponse([outcome.record for outcome in outcomes], status)

    @app.get("/health", summary="Which network is served", response_description="It is ready")
    async def health() -> Health:
        described = predictor.description
        return Health(
            ready=True,
            model=name,
            architecture=described.get("architecture"),
            classes=described.get("num_classes"),
            sha256=predictor.sha256,
            version=__version__,
            token=token is not None,
            max_body_bytes=limits.body_bytes,
            max_files=limits.files,
        )

    @app.get(
        "/metrics", summary="Figures for Prometheus", response_description="Its text format", response_class=Response
    )
    async def figures() -> Response:
        return Response(metrics.text(), media_type=CONTENT_TYPE_LATEST)

    @app.get("/", include_in_schema=False)
    async def page() -> Response:
        return start_page()

    @app.get("/docs", include_in_schema=False)
    async def docs() -> Response:
        return docs_page(app.openapi())

    @app.get("/favicon.ico", include_in_schema=False)
    async def icon() -> Response:
        return Response(status_code=204)

    @app.exception_handler(Refusal)
    async def refused(_: Request, refusal: Refusal) -> Response:
        return refusal_response(refusal)

    @app.exception_handler(ClientDisconnect)
    async def gone(_: Request, __: ClientDisconnect) -> Response:
        return Response(status_code=CLIENT_GONE)  # nobody reads it, but it is counted

    @app.exception_handler(RequestValidationError)
    async def invalid(_: Request, error: RequestValidationError) -> Response:
        why = "; ".join(f"{each['loc'][-1]}: {each['msg']}" for each in error.errors())
        return refusal_response(Refusal(422, why))

    @app.exception_handler(HTTPException)
    async def other(_: Request, error: HTTPException) -> Response:
        return refusal_response(Refusal(error.status_code, str(error.detail), error.headers))

    @app.exception_handler(Exception)
    async def failed(_: Request, __: Exception) -> Response:
        return refusal_response(Refusal(500, "the server failed on this request"))

    return Guard(app, limits, token, metrics)
