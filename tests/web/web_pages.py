"""Pages are served as ``python -m http.server`` does it, and read as a visitor reads them."""

import base64
import contextlib
import functools
import http.server
import io
import threading

import numpy as np
from PIL import Image

NETWORK_SIZE = 32
LABELS = ("<script>alert(1)</script>", "<img src=x onerror=alert(1)>", 'Käse & "Brot"', "ash", "birch", "cedar")

PATIENCE = 120_000  # milliseconds until a page counts as broken


class _Quiet(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *_):
        pass


@contextlib.contextmanager
def serve(folder):
    """Serve a folder on this machine; returns the address."""
    handler = functools.partial(_Quiet, directory=str(folder))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_address[1]}/"
        server.shutdown()


class Visit:
    """A loaded page, with what the browser complained about and what it asked for."""

    def __init__(self, browser, address, *, wait_for="Ready.", **options):
        self.context = browser.new_context(**options)
        self.page = self.context.new_page()
        self.complaints, self.requests = [], []
        self.page.on("console", lambda message: self.complaints.append(f"{message.type}: {message.text}"))
        self.page.on("pageerror", lambda error: self.complaints.append(str(error)))
        self.page.on("request", lambda request: self.requests.append(request.url))
        self.page.goto(address)
        self.wait_for(wait_for)

    def again(self):
        """Load the page anew."""
        self.page.reload()
        self.wait_for("Ready.")

    def close(self):
        self.context.close()

    def wait_for(self, status):
        """Wait until the line for announcements says something."""
        self.page.locator("#status", has_text=status).wait_for(timeout=PATIENCE)

    def answers(self):
        """Return what the page shows now, the newest first."""
        return self.page.eval_on_selector_all("#answers article", READ)

    def answer(self, content, name="image"):
        """Give the page one file and return what it shows then."""
        self.page.set_input_files("#files", {"name": name, "mimeType": "image/*", "buffer": content})
        self.wait_for(f"{name}: ")
        return self.answers()[0]

    def pixels(self, content, preparing):
        """Return the pixels that the page makes of a file, as (H, W, 3)."""
        found = self.page.evaluate(PIXELS, [base64.b64encode(content).decode(), preparing])
        return np.frombuffer(base64.b64decode(found["pixels"]), np.uint8).reshape(found["height"], found["width"], 3)


READ = """articles => articles.map((article) => ({
  name: article.querySelector("h2").textContent,
  labels: [...article.querySelectorAll("li span")].map((each) => each.textContent),
  probabilities: [...article.querySelectorAll("li data")].map((each) => Number(each.value)),
  text: article.textContent,
}))"""

PIXELS = """async ([content, preparing]) => {
  const { decode, prepare } = await import("./pixels.js");
  const picture = await decode(new Blob([Uint8Array.from(atob(content), (letter) => letter.charCodeAt(0))]));
  const { pixels, width, height } = prepare(picture, [picture.width, picture.height], preparing);
  return { pixels: btoa(Array.from(pixels, (level) => String.fromCharCode(level)).join("")), width, height };
}"""


def encode(image, kind="PNG", **options):
    """Return a picture as the bytes of a file."""
    stream = io.BytesIO()
    image.save(stream, kind, **options)
    return stream.getvalue()


def noise(width, height, seed=0):
    """Return a picture of noise, coarse and fine."""
    generator = np.random.default_rng(seed)
    coarse = Image.fromarray(generator.integers(0, 256, (4, 4, 3), dtype=np.uint8))
    smooth = np.asarray(coarse.resize((width, height), Image.Resampling.BICUBIC))
    return Image.fromarray((smooth * 0.7 + generator.integers(0, 77, (height, width, 3))).astype(np.uint8))


def turned(image, orientation):
    """Return a picture as a file whose EXIF block says how it must be turned."""
    exif = Image.Exif()
    exif[0x0112] = orientation
    return encode(image, exif=exif)


def with_alpha(image):
    """Make a picture transparent from left to right."""
    result = image.copy()
    ramp = np.linspace(0, 255, image.width).round().astype(np.uint8)
    result.putalpha(Image.fromarray(np.tile(ramp, (image.height, 1))))
    return result


def swapped_profile():
    """Return a colour profile in which red is green: whoever heeds it sees other colours."""
    from PIL import ImageCms

    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    return profile.replace(b"rXYZ", b"temp").replace(b"gXYZ", b"rXYZ").replace(b"temp", b"gXYZ")
