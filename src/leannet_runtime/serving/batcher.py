"""Images of several requests go through the network together."""

from __future__ import annotations

import asyncio
import contextlib
import math
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from leannet_runtime.serving.limits import Refusal

__all__ = ["Batcher", "NetworkAnswer", "NetworkFailed", "Row"]

LONGEST_RETRY = 60  # seconds


class NetworkAnswer(Protocol):
    """What a predictor answers for N images: probabilities ``(N, C)``, and numbers of exits ``(N,)`` from 1 or None."""

    @property
    def probabilities(self) -> NDArray[np.floating[Any]]: ...  # noqa: D102
    @property
    def exits(self) -> NDArray[np.integer[Any]] | None: ...  # noqa: D102


class NetworkFailed(Exception):  # noqa: N818 -- says what happened, to one picture
    """The network raised an error for a picture, which is this one's cause."""


class Row(NamedTuple):
    """The answer for one image: probabilities ``(C,)``, and which exit answered."""

    probabilities: NDArray[np.floating[Any]]
    exit: int | None


class _Job(NamedTuple):
    picture: Image.Image
    arrived: float
    answer: asyncio.Future[Row]


class Batcher:
    """A queue in front of the network, which runs in a thread of its own.

    A batch has at most half of the images that are in the house, so that while it is in the network the other half is
    read, decoded and sent. The first image that arrives waits at most `max_wait_s` for so many; while the network is
    busy, they gather anyway.

    Args:
        run: Answers a list of RGB pictures.
        max_batch: Most images at a time.
        max_wait_s: How long an image may wait for others, in seconds.
        room: Images that may be reserved at a time.
        on_batch: Called with the size of each batch.
    """

    def __init__(
        self,
        run: Callable[[list[Image.Image]], NetworkAnswer],
        max_batch: int,
        max_wait_s: float,
        room: int,
        on_batch: Callable[[int], object] = lambda _: None,
    ) -> None:
        self.max_batch = max_batch
        self.max_wait_s = max_wait_s
        self.room = room
        self.reserved = 0
        self._run = run
        self._on_batch = on_batch
        self._image_seconds = 0.0  # what an image takes in the network, lately
        self._waiting: deque[_Job] = deque()
        self._arrived = asyncio.Event()
        self._full = asyncio.Event()
        self._thread = ThreadPoolExecutor(1, "leannet-network")
        self._worker: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Begin to answer; an event loop must run."""
        self._worker = asyncio.get_running_loop().create_task(self._work())

    async def close(self) -> None:
        """Stop; what still waits is not answered."""
        if self._worker is not None:
            self._worker.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._worker
        self._thread.shutdown(wait=False, cancel_futures=True)

    @contextlib.contextmanager
    def reserve(self, count: int) -> Iterator[None]:
        """Keep room for so many images until the block ends.

        Raises:
            Refusal: With status 503: there is no room.
        """
        self.check_room(count)
        self.reserved += count
        try:
            yield
        finally:
            self.reserved -= count

    def check_room(self, count: int) -> None:
        """Raise `Refusal` (503) unless there is room for so many images."""
        if self.reserved + count > self.room:
            seconds = math.ceil(self._image_seconds * self.reserved)
            retry = str(min(max(seconds, 1), LONGEST_RETRY))
            raise Refusal(503, "too many images are waiting: try again later", {"Retry-After": retry})

    async def submit(self, picture: Image.Image) -> Row:
        """Answer one RGB picture; cancelled before its turn, it is left out.

        Raises:
            NetworkFailed: The network cannot answer this picture.
        """
        loop = asyncio.get_running_loop()
        job = _Job(picture, loop.time(), loop.create_future())
        self._waiting.append(job)
        self._arrived.set()
        if len(self._waiting) >= self._enough():
            self._full.set()
        return await job.answer

    async def _work(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            await self._arrived.wait()
            left = self._waiting[0].arrived + self.max_wait_s - loop.time()
            if left > 0 and len(self._waiting) < self._enough():
                with contextlib.suppress(asyncio.TimeoutError):
                    await asyncio.wait_for(self._full.wait(), left)
            await self._answer_batch(self._take())

    async def _answer_batch(self, batch: list[_Job]) -> None:
        if not batch:
            return
        self._on_batch(len(batch))
        begin = time.monotonic()
        pictures = [job.picture for job in batch]
        rows = await asyncio.get_running_loop().run_in_executor(self._thread, self._answer, pictures)
        self._image_seconds += 0.2 * ((time.monotonic() - begin) / len(batch) - self._image_seconds)
        for job, row in zip(batch, rows, strict=True):
            if job.answer.done():  # its request has gone
                continue
            if isinstance(row, NetworkFailed):
                job.answer.set_exception(row)
            else:
                job.answer.set_result(row)

    def _take(self) -> list[_Job]:
        """Take the oldest jobs that somebody still waits for."""
        batch: list[_Job] = []
        enough = self._enough()
        while self._waiting and len(batch) < enough:
            job = self._waiting.popleft()
            if not job.answer.done():
                batch.append(job)
        if not self._waiting:
            self._arrived.clear()
        if len(self._waiting) < enough:
            self._full.clear()
        return batch

    def _enough(self) -> int:
        """Return how many images the next batch should have."""
        return min(max(math.ceil(self.reserved / 2), 1), self.max_batch)

    def _answer(self, pictures: list[Image.Image]) -> Sequence[Row | NetworkFailed]:
        """Run the network; where it fails, on each picture alone, so that one does not spoil the others."""
        try:
            answer = self._run(pictures)
            exits = [None] * len(pictures) if answer.exits is None else [int(number) for number in answer.exits]
            rows = [Row(*row) for row in zip(answer.probabilities, exits, strict=True)]
            if len(rows) != len(pictures):
                raise RuntimeError(f"{len(rows)} answers for {len(pictures)} pictures")
        except Exception as error:
            if len(pictures) > 1:
                return [row for picture in pictures for row in self._answer([picture])]
            failure = NetworkFailed(f"{type(error).__name__}: {error}")
            failure.__cause__ = error
            return [failure]
        nonsense = NetworkFailed("a probability is not a number")
        return [row if np.isfinite(row.probabilities).all() else nonsense for row in rows]
