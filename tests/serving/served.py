"""A server on a free port of this machine, with a predictor whose answers anybody can tell by looking at the image."""

import contextlib
import io
import json
import socket
import threading
import time
from types import SimpleNamespace

import httpx2
import numpy as np
from PIL import Image

from leannet_runtime.serving import Limits, make_app
from leannet_runtime.serving.server import bind, make_server

COLOURS = ("red", "green", "blue")


class ColourPredictor:
    """Answers with the share of each colour; dark images leave by exit 1, bright ones by exit 2."""

    label_names = COLOURS
    sha256 = "0" * 64
    description = {"architecture": "colours", "num_classes": 3}  # noqa: RUF012

    def __init__(self, with_exits=True):
        self.with_exits = with_exits
        self.batches = []
        self.open = threading.Event()  # closed, it lets nothing through
        self.open.set()
        self.busy = threading.Event()  # set once it has been called
        self.fails = lambda _: False

    def run(self, pictures):
        self.busy.set()
        assert self.open.wait(60)
        self.batches.append(len(pictures))
        if self.fails(pictures):
            raise RuntimeError("cannot run")
        means = np.array([np.asarray(picture, np.float64).mean((0, 1)) for picture in pictures]) + 1
        exits = np.where(means.mean(1) > 100, 2, 1) if self.with_exits else None
        return SimpleNamespace(logits=np.log(means), probabilities=means / means.sum(1, keepdims=True), exits=exits)


def image_bytes(colour, size=(20, 12), kind="PNG"):
    """Return an image file of one colour."""
    stream = io.BytesIO()
    Image.new("RGB", size, colour).save(stream, kind)
    return stream.getvalue()


class Served:
    """What tests know of a running server."""

    def __init__(self, server, predictor, port):
        self.server = server
        self.predictor = predictor
        self.port = port
        self.client = httpx2.Client(base_url=f"http://127.0.0.1:{port}", timeout=60)

    def post(self, data=None, **options):
        """Send one image as the body, or what httpx is told."""
        if data is not None:
            options = {"content": data, "headers": {"content-type": "image/png"}, **options}
        return self.client.post("/predict", **options)

    def is_right(self):
        """Say whether it answers as if nothing had happened."""
        answer = self.post(image_bytes("blue"))
        return answer.status_code == 200 and answer.json()[0]["labels"][0] == "blue"

    def metric(self, name):
        """Return a figure of /metrics."""
        lines = self.client.get("/metrics").text.splitlines()
        return next(float(line.rpartition(" ")[2]) for line in lines if line.startswith(f"{name} "))

    def connect(self):
        """Open a connection, for what no client library would send."""
        return socket.create_connection(("127.0.0.1", self.port), timeout=60)


def wait_for(happened, seconds=30):
    """Wait for something that another thread does."""
    deadline = time.monotonic() + seconds
    while not happened():
        assert time.monotonic() < deadline, "it did not happen"
        time.sleep(0.005)  # polling is all one can do from outside


@contextlib.contextmanager
def serving(predictor=None, limits=None, **options):
    """Serve in a thread until the block ends."""
    predictor, limits = predictor or ColourPredictor(), limits or Limits()
    listener = bind("127.0.0.1", 0)
    port = listener.getsockname()[1]
    server = make_server(make_app(predictor, "colours.onnx", limits=limits, **options), limits)
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]})
    thread.start()
    served = Served(server, predictor, port)
    try:
        wait_for(lambda: server.started)
        yield served
    finally:
        served.client.close()
        predictor.open.set()
        server.should_exit = True
        thread.join(30)
        assert not thread.is_alive()


def read_all(connection):
    """Read an answer until the server closes; return its status, and the JSON in it."""
    received = b""
    with contextlib.suppress(ConnectionResetError):
        while piece := connection.recv(65536):
            received += piece
    head, _, body = received.partition(b"\r\n\r\n")
    return (int(head.split()[1]), json.loads(body)) if head else (None, None)
