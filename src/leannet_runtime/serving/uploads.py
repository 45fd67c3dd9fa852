"""From the body of a request to the images in it; nothing is written to disk."""

from __future__ import annotations

from typing import NamedTuple

from starlette.datastructures import UploadFile
from starlette.formparsers import MultiPartException, MultiPartParser
from starlette.requests import Request

from leannet_runtime.serving.limits import Refusal

__all__ = ["Upload", "read_uploads", "readable_name"]

LONGEST_NAME = 200  # characters that are echoed
MOST_FIELDS = 16  # of a form, beside its files
MOST_FIELD_BYTES = 2**14


class Upload(NamedTuple):
    """An image of a request, as it came.

    Args:
        name: What the client calls it: text to be echoed, never a path to be opened.
        data: The bytes of an image file.
    """

    name: str
    data: bytes


class _InMemory(MultiPartParser):
    spool_max_size = 2**62  # the body is bounded already


def readable_name(name: str | None) -> str:
    """Return what may be echoed of a client's file name: characters that can be printed, and not too many."""
    text = "".join(letter if letter.isprintable() else "\N{REPLACEMENT CHARACTER}" for letter in name or "")
    return text[:LONGEST_NAME] or "image"


async def read_uploads(request: Request, most_files: int) -> list[Upload]:
    """Read the images of a multipart form, or the one image that a body is.

    Raises:
        Refusal: 400, 413 or 415: no image, a form that cannot be read, too many files, another kind of body.
    """
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind.startswith("image/") or kind == "application/octet-stream":
        data = await request.body()
        if not data:
            raise Refusal(400, "the body is empty: send an image")
        return [Upload("image", data)]
    if kind != "multipart/form-data":
        raise Refusal(415, "send multipart/form-data with files, or one image as image/* or application/octet-stream")
    parser = _InMemory(
        request.headers,
        request.stream(),
        max_files=most_files,
        max_fields=MOST_FIELDS,
        max_part_size=MOST_FIELD_BYTES,
    )
    try:
        form = await parser.parse()
    except MultiPartException as error:
        if error.message.startswith("Too many files"):
            raise Refusal(413, f"at most {most_files} images in a request") from None
        raise Refusal(400, f"the form cannot be read: {readable_name(error.message)}") from None
    uploads = [
        Upload(readable_name(file.filename), file.file.read())
        for _, file in form.multi_items()
        if isinstance(file, UploadFile)
    ]
    await form.close()
    if not uploads:
        raise Refusal(400, "there is no file in the form: send at least one image")
    return uploads
