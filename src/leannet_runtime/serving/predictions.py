"""From uploaded bytes to what the client is told."""

from __future__ import annotations

import asyncio
import functools
import io
import time
import warnings
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Literal, NamedTuple, Protocol

import numpy as np
from PIL import Image, UnidentifiedImageError

from leannet_runtime.cores import usable_cores
from leannet_runtime.errors import UserError
from leannet_runtime.images import MOST_PIXELS, decode_image
from leannet_runtime.serving.batcher import Batcher, NetworkAnswer, NetworkFailed, Row
from leannet_runtime.serving.limits import PixelBudget
from leannet_runtime.serving.observing import write_line
from leannet_runtime.serving.uploads import Upload

__all__ = ["FORMATS", "Outcome", "Pictures", "Predictor", "image_size"]

# Strangers choose what is decoded, so only decoders that are kept safe in the open: pillow has dozens of others, and
# hands EPS to a PostScript interpreter.
FORMATS = ("JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF", "AVIF")


KINDS = ", ".join(FORMATS)


class Predictor(Protocol):
    """What the server needs of `leannet_runtime.load`'s result."""

    @property
    def label_names(self) -> Sequence[str] | None: ...  # noqa: D102
    @property
    def sha256(self) -> str: ...  # noqa: D102
    @property
    def description(self) -> dict[str, Any]: ...  # noqa: D102
    def run(self, pixels: Any) -> NetworkAnswer: ...  # noqa: D102


class Outcome(NamedTuple):
    """What the client is told of one image, and whose fault it is if there is no answer.

    Args:
        kind: "answered"; "unreadable", the image; "failed", the network.
        record: For JSON.
    """

    kind: Literal["answered", "unreadable", "failed"]
    record: dict[str, Any]


def image_size(data: bytes) -> tuple[int, int]:
    """Read width and height from the head of an image file, before anything is decoded.

    Raises:
        UserError: It is no image of the `FORMATS`, or has more than `MOST_PIXELS`.
    """
    what, remedy = "cannot read image", f"Send one of {KINDS}"
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            with Image.open(io.BytesIO(data), formats=_readable()) as image:
                width, height = image.size
    except UnidentifiedImageError:
        raise UserError(
            what, "empty file" if not data else f"not an image, or of another kind than {KINDS}", remedy
        ) from None
    except Image.DecompressionBombError:
        raise UserError(what, f"it has more pixels than the limit of {MOST_PIXELS:,}", "Send a smaller one") from None
    except Exception as error:  # on a damaged file, pillow's plugins raise almost any type
        raise UserError(what, f"damaged ({type(error).__name__})", remedy) from error
    if width * height > MOST_PIXELS:
        why = f"it has {width:,} x {height:,} pixels, more than the limit of {MOST_PIXELS:,}"
        raise UserError(what, why, "Send a smaller one")
    return width, height


@functools.cache
def _readable() -> tuple[str, ...]:
    """Return those of the `FORMATS` that this pillow was built with."""
    Image.init()
    return tuple(kind for kind in FORMATS if kind in Image.OPEN)


class Pictures:
    """Decodes uploads in threads and sends them through the batcher.

    Args:
        batcher: Leads to the network.
        budget: How many decoded pixels may be in memory.
        label_names: Of the classes; their numbers by default.
    """

    def __init__(self, batcher: Batcher, budget: PixelBudget, label_names: Sequence[str] | None) -> None:
        self.batcher = batcher
        self.budget = budget
        self.label_names = label_names
        self._threads = ThreadPoolExecutor(usable_cores(), "leannet-decode")

    def close(self) -> None:
        """Let the threads end."""
        self._threads.shutdown(wait=False, cancel_futures=True)

    async def answer(self, upload: Upload, topk: int) -> Outcome:
        """Answer one image; what is wrong with it is an answer too."""
        begin = time.monotonic()
        loop = asyncio.get_running_loop()
        try:
            width, height = await loop.run_in_executor(self._threads, image_size, upload.data)
            async with self.budget.hold(width * height):
                picture = await loop.run_in_executor(self._threads, decode_image, upload.data)
                row = await self.batcher.submit(picture)
                del picture
        except UserError as error:
            return Outcome("unreadable", {"name": upload.name, "error": error.why})
        except NetworkFailed as error:
            write_line(level="error", message=f"the network failed: {error}")
            return Outcome("failed", {"name": upload.name, "error": "the network failed on this image"})
        milliseconds = 1000 * (time.monotonic() - begin)
        return Outcome("answered", {"name": upload.name, **self._best(row, topk), "milliseconds": milliseconds})

    def _best(self, row: Row, topk: int) -> dict[str, Any]:
        best = np.argsort(-row.probabilities, kind="stable")[:topk]
        names = self.label_names
        return {
            "labels": [str(number) if names is None else names[number] for number in best],
            "probabilities": [float(row.probabilities[number]) for number in best],
            "exit": row.exit,
        }
