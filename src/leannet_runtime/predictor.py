"""From images to labels: what a saved network answers, whatever runs it."""

from __future__ import annotations

import contextlib
import itertools
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from leannet_runtime.answers import Answer, Prediction
from leannet_runtime.errors import UserError
from leannet_runtime.images import DamagedImage, decode_image
from leannet_runtime.model_file import ModelFile
from leannet_runtime.preprocessing import FILTERS, LONGEST, Preprocessing

__all__ = ["Answer", "AnyImage", "OnnxPredictor", "Prediction", "Predictor", "load"]

AnyImage = str | Path | bytes | Image.Image | NDArray[np.uint8]
"""A path, the bytes of an image file, a picture of pillow, or pixels 0..255 of shape ``(H, W, 3)``."""

# The graph turns pixels into float32 and resizes them, which takes ten times the room: so many at a time.
MOST_PIXELS_AT_ONCE = 2**24

# Larger pictures are resized by pillow as soon as they are decoded, so that a batch of photographs needs no gigabytes.
# The graph does the same to others, and finds nothing left to resize in these.
LARGE_PIXELS = 2**22


class Predictor(ABC):
    """A network that answers images. `load` makes one.

    Args:
        num_classes: Number of classes.
        label_names: By label; without, classes are called "0", "1" and so on.
        preprocessing: How images become the input of the network.
        description: What the file or folder says of the network.
        sha256: Of the exported file, or of the weights in a model folder, in hexadecimal digits.
        threads: How many decode images.
    """

    def __init__(
        self,
        num_classes: int,
        label_names: Sequence[str] | None,
        preprocessing: Preprocessing,
        description: dict[str, Any],
        sha256: str,
        threads: int,
    ) -> None:
        self.num_classes = num_classes
        self.label_names = tuple(label_names) if label_names is not None else tuple(map(str, range(num_classes)))
        self.preprocessing = preprocessing
        self.description = description
        self.sha256 = sha256
        self.threads = threads

    @abstractmethod
    def prepare(self, image: Image.Image) -> NDArray[np.uint8]:
        """Return the pixels of an RGB picture as `run_pixels` takes them: ``(H, W, 3)``."""

    @abstractmethod
    def run_pixels(self, pixels: NDArray[np.uint8]) -> Answer:
        """Answer a batch of prepared images of one size, ``(N, H, W, 3)``."""

    def predict(
        self,
        images: Iterable[AnyImage],
        topk: int = 5,
        batch_size: int = 32,
        on_batch: Callable[[int], None] | None = None,
    ) -> list[Prediction]:
        """Answer images with the likeliest classes.

        Images are decoded as everywhere in leannet: upright, on white, 8-bit RGB (see `decode_image`). Those that
        cannot be read are answered with an error, the others as if it were not there.

        Args:
            images: Paths, bytes of image files, pictures of pillow, or arrays of uint8 ``(H, W, 3)``.
            topk: How many classes; all if there are fewer.
            batch_size: How many images are decoded, and answered, together.
            on_batch: Told how many images are done.

        Returns:
            One prediction for each image, in the same order.

        Raises:
            UserError: What is given is no image at all, or one image and no list, topk or batch_size is below 1, or the
                network cannot run.
        """
        if isinstance(images, (str, Path, bytes, Image.Image)) or (isinstance(images, np.ndarray) and images.ndim == 3):
            kind = type(images).__name__
            raise UserError("cannot predict", f"one image is given ({kind}), not a list", "Give [image]")
        for name, value in (("topk", topk), ("batch_size", batch_size)):
            if value < 1:
                raise UserError(f"{name} {value}", "it is below 1", "Pass 1 or more")
        predictions: list[Prediction] = []
        rest = iter(enumerate(images))
        with ThreadPoolExecutor(self.threads) as pool:
            while chunk := list(itertools.islice(rest, batch_size)):
                names = [_name(image, position) for position, image in chunk]
                read = list(pool.map(self._read, (image for _, image in chunk), names))
                predictions += self._answer(names, read, topk)
                if on_batch is not None:
                    on_batch(len(predictions))
        return predictions

    def run(self, pixels: NDArray[np.uint8] | Sequence[Image.Image | NDArray[np.uint8]]) -> Answer:
        """Answer images that are decoded already.

        Args:
            pixels: uint8 ``(N, H, W, 3)``, or a list of RGB pictures or arrays ``(H, W, 3)`` of any sizes.

        Raises:
            UserError: It is something else, or the network cannot run.
        """
        pictures = [_picture(each, f"image {number}") for number, each in enumerate(pixels, start=1)]
        return self.run_prepared(
            [self.prepare(each if each.mode == "RGB" else decode_image(each)) for each in pictures]
        )

    def _read(self, source: AnyImage, name: str) -> NDArray[np.uint8] | DamagedImage:
        """Decode an image; only its prepared form stays in memory."""
        try:
            with contextlib.ExitStack() as scope:
                given = source if isinstance(source, (str, Path, bytes)) else _picture(source, name)
                return self.prepare(decode_image(given, name=name, scope=scope))
        except DamagedImage as error:
            return error

    def _answer(
        self, names: Sequence[str], read: Sequence[NDArray[np.uint8] | DamagedImage], topk: int
    ) -> list[Prediction]:
        whole = [each for each in read if not isinstance(each, DamagedImage)]
        answer = self.run_prepared(whole)
        best = np.argsort(-answer.probabilities, axis=1, kind="stable")[:, :topk]
        predictions, row = [], 0
        for name, image in zip(names, read, strict=True):
            if isinstance(image, DamagedImage):
                predictions.append(Prediction(name, (), (), error=image.why))
                continue
            labels = tuple(self.label_names[label] for label in best[row])
            probabilities = tuple(answer.probabilities[row, best[row]].tolist())
            exit_number = None if answer.exits is None else int(answer.exits[row])
            predictions.append(Prediction(name, labels, probabilities, exit_number))
            row += 1
        return predictions

    def run_prepared(self, images: Sequence[NDArray[np.uint8]]) -> Answer:
        """Answer what `prepare` returned: images of one size together, as many as fit into memory.

        Args:
            images: uint8 ``(H, W, 3)``, of any sizes.

        Raises:
            UserError: The network cannot run.
        """
        sizes: dict[tuple[int, ...], list[int]] = {}
        for position, image in enumerate(images):
            sizes.setdefault(image.shape, []).append(position)
        order: list[int] = []
        answers: list[Answer] = []
        for (height, width, _), positions in sizes.items():
            step = max(MOST_PIXELS_AT_ONCE // (height * width), 1)
            for start in range(0, len(positions), step):
                part = positions[start : start + step]
                answers.append(self.run_pixels(np.stack([images[position] for position in part])))
                order += part
        if not answers:
            nothing = np.empty((0, self.num_classes), np.float32)
            return Answer(nothing, nothing)
        back = np.argsort(order)
        exits = [each.exits for each in answers if each.exits is not None]
        return Answer(
            np.concatenate([each.logits for each in answers])[back],
            np.concatenate([each.probabilities for each in answers])[back],
            np.concatenate(exits)[back] if exits else None,
        )


class OnnxPredictor(Predictor):
    """An exported file, run by onnxruntime on the CPU.

    Args:
        file: The file, opened.
    """

    def __init__(self, file: ModelFile) -> None:
        super().__init__(
            file.num_classes, file.label_names, file.preprocessing, file.description, file.sha256, file.threads
        )
        self.file = file

    def prepare(self, image: Image.Image) -> NDArray[np.uint8]:
        """Return all pixels if the graph prepares them, otherwise the square that the network sees.

        Of very long pictures and of large ones the graph gets what it would make of them itself: resized, the very
        long ones to a square around their middle.
        """
        if not self.file.inside:
            return self.preprocessing.pixels(image)
        if max(image.size) > LONGEST * min(image.size):
            return np.asarray(_resized_middle(image, self.preprocessing))
        if image.width * image.height > LARGE_PIXELS:
            return np.asarray(self.preprocessing.resize(image))
        return np.asarray(image)

    def run_pixels(self, pixels: NDArray[np.uint8]) -> Answer:
        """Answer a batch of prepared images of one size, ``(N, H, W, 3)``.

        Raises:
            UserError: onnxruntime cannot run the graph, or the graph does not answer what its metadata promises.
        """
        file = self.file
        given = pixels if file.inside else self.preprocessing.normalise(pixels)
        names = ["logits", "probabilities", *(["exit"] if file.has_exits else [])]
        try:
            logits, probabilities, *exits = file.session.run(names, {"image": given})
        except Exception as error:  # onnxruntime's errors share no other base
            why = str(error).strip().splitlines()[0]
            raise UserError(f"cannot run {file.path}", why, "Export it again: leannet export MODEL_FOLDER") from error
        wanted = (len(pixels), self.num_classes)
        if logits.shape != wanted or probabilities.shape != wanted or any(each.shape != wanted[:1] for each in exits):
            why = f"it answers {len(pixels)} images with {probabilities.shape}, not {wanted}"
            raise UserError(f"cannot use {file.path}", why, "Export it again: leannet export MODEL_FOLDER")
        return Answer(logits, probabilities, exits[0] if exits else None)


def load(path: str | Path, threads: int | None = None, *, spinning: bool = True) -> OnnxPredictor:
    """Open an exported file, without torch.

    Args:
        path: What `leannet export` wrote.
        threads: How many run the graph and decode images; by default one for each core this process may use.
        spinning: Whether threads of the graph watch for work between two layers, which is fastest where nothing else
            runs. A program with work of its own beside it is faster without.

    Raises:
        UserError: It cannot be used, see `ModelFile.open`.
    """
    return OnnxPredictor(ModelFile.open(path, threads, spinning=spinning))


def _resized_middle(image: Image.Image, preprocessing: Preprocessing) -> Image.Image:
    """Resize a very long picture as the graph would, but only a square around its middle, where the crop will be."""
    width, height = preprocessing._resized(image)
    side, crop = min(width, height), preprocessing.img_size
    # So that the crop of the square begins where the crop of the whole would, where both are rounded.
    margin = round((side - crop) / 2)
    left, top = (round((each - crop) / 2) - margin for each in (width, height))
    across, down = image.width / width, image.height / height
    box = (
        left * across,
        top * down,
        min((left + side) * across, image.width),
        min((top + side) * down, image.height),
    )
    return image.resize((side, side), FILTERS[preprocessing.interpolation], box=box)


def _name(image: AnyImage, position: int) -> str:
    """Return what a prediction calls an image."""
    if isinstance(image, (str, Path)):
        return str(image)
    return str(getattr(image, "filename", "") or f"image {position + 1}")


def _picture(image: Any, name: str) -> Image.Image:
    """Return a picture of pillow from one, or from an array."""
    if isinstance(image, Image.Image):
        return image
    if isinstance(image, np.ndarray) and image.dtype == np.uint8 and image.ndim == 3 and image.shape[2] == 3:
        if image.size:
            return Image.fromarray(image)
        raise DamagedImage(f"cannot use {name}", "it has no pixels")
    found = f"{image.dtype} {image.shape}" if isinstance(image, np.ndarray) else type(image).__name__
    raise UserError(f"cannot use {name}", f"it is {found}", "Give a picture of pillow, or an array of uint8 (H, W, 3)")
