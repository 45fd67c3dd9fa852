"""What the server says of itself: a line for each request, and figures for Prometheus."""

from __future__ import annotations

import json
import logging
import sys
import time
from collections.abc import Callable
from datetime import datetime, timezone
from typing import Any

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

__all__ = ["JsonHandler", "Metrics", "write_line"]

LATENCY_SECONDS = (0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0, 30.0)
BATCH_SIZES = (1, 2, 4, 8, 16, 32, 64, 128)


class Metrics:
    """Counters in a registry of their own, so that two servers in one process do not mix.

    Args:
        queue_length: Tells how many images wait or are in the network.
    """

    def __init__(self, queue_length: Callable[[], float]) -> None:
        self.registry = CollectorRegistry()
        self.requests = Counter("leannet_requests", "Requests, by HTTP status", ["status"], registry=self.registry)
        self.images = Counter("leannet_images", "Images, by outcome", ["outcome"], registry=self.registry)
        self.batch_size = Histogram(
            "leannet_batch_size", "Images that go through the network together", buckets=BATCH_SIZES,
            registry=self.registry,
        )  # fmt: skip
        self.latency = Histogram(
            "leannet_request_seconds", "From the head of a request to its answer, /predict only",
            buckets=LATENCY_SECONDS, registry=self.registry,
        )  # fmt: skip
        queue = Gauge("leannet_queue_images", "Images that wait or are in the network", registry=self.registry)
        queue.set_function(queue_length)

    def text(self) -> bytes:
        """Return everything in Prometheus' text format."""
        return generate_latest(self.registry)


def write_line(**fields: Any) -> None:
    """Write one JSON line on the error stream, with the time."""
    now = datetime.fromtimestamp(time.time(), timezone.utc).isoformat(timespec="milliseconds")
    sys.stderr.write(json.dumps({"time": now, **fields}) + "\n")
    sys.stderr.flush()


class JsonHandler(logging.Handler):
    """Writes what uvicorn logs as JSON lines too."""

    def emit(self, record: logging.LogRecord) -> None:
        """Write one record, with its traceback."""
        fields = {"level": record.levelname.lower(), "message": record.getMessage()}
        if record.exc_info:
            fields["traceback"] = logging.Formatter().formatException(record.exc_info)
        write_line(**fields)
