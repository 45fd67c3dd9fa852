"""The proof that a file answers as the network it was made from, by running it on real images."""

from __future__ import annotations

import itertools
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Any, TypeAlias

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import nn

from leannet.deploy.proof_images import ProofImages, odd_images
from leannet.deploy.routes import Expected, Reference, RouteProof, Routes
from leannet.early_exit import ExitPolicy
from leannet.measure import evaluation_mode
from leannet_runtime import Preprocessing

__all__ = ["BARS", "INT8_BARS", "Proof", "ProofFailed", "check_finished", "prove"]

Floats: TypeAlias = NDArray[np.float32]
Run: TypeAlias = Callable[[NDArray[Any]], tuple[NDArray[Any], ...]]
Prepare: TypeAlias = Callable[[NDArray[np.uint8]], Floats]

ODD_IMAGES = 28
BATCHES = (1, 2, 7)

BARS = {
    "logits": 1e-3,  # largest difference for the same input, as a share of the largest logit
    "batches": 1e-4,  # largest difference between a batch of seven and seven batches of one, as the same share
    "probabilities": 1e-5,  # largest difference from the softmax of the logits
    "pixel_levels": 2.0,  # largest difference of a pixel, of 255 levels
    "mean_pixel_levels": 0.1,
    "agreement": 99.0,  # percent of the images, those left out for which the network itself is undecided
}
"""What a file must reach.

Rounding in another order moves logits by about a millionth of the largest. Where the network's two best classes lie
closer together than the difference that is allowed for each of them, either answer is right, and the image is counted
as undecided. With its preprocessing inside, a file sees a few pixels one level brighter or darker: its graph is then
held against the network on the same pixels, its pixels against pillow's, and both together against each other.
"""

INT8_BARS = {**BARS, "logits": 1.0, "batches": 0.05, "agreement": 80.0}
"""What a file of 8 bits must reach.

Each activation is rounded to one of 256 values. That moves logits by some percent of the largest, in networks with SiLU
by half of it on pictures unlike those of the calibration, and the best class where two lie close together. These bars
find a file that is broken; accuracy and agreement, which decide, have been measured on more images before. Between
batches of different size sums of float differ in the last bit, and an activation may fall on the next of the 256.
"""


class ProofFailed(Exception):  # noqa: N818 -- it is no error of the program
    """A file does not answer as its network does; the text says by how much."""


@dataclass(frozen=True)
class Proof:
    """How far the answers of a file are from those of the network."""

    images: int
    """Real images, the odd ones not counted."""

    odd_images: int
    """Pictures of odd sizes made from them."""

    data: str
    parts: tuple[str, ...]
    agreement: float
    """Percent of the decided images with the same best class."""

    undecided: int
    """Images whose two best classes lie closer together than the file's logits may differ."""

    logit_difference: float
    """Largest, for the same input."""

    end_to_end_difference: float
    """Largest difference of logits, each side with its own preprocessing."""

    largest_logit: float
    batch_difference: float
    """Largest, between a batch of seven and seven batches of one."""

    probability_difference: float
    """Largest, from the softmax of the logits."""

    pixel_levels: float | None
    """Largest difference of a pixel, of 255 levels; None if the preprocessing is outside."""

    mean_pixel_levels: float | None
    runtime: str
    """What ran the file."""

    notes: tuple[str, ...] = field(default=())
    bars: Mapping[str, float] = field(default_factory=lambda: BARS)
    """What was to be reached, see `BARS`."""

    routes: RouteProof | None = None
    """Where images left a file with a policy of exits."""

    at_gates: int = 0
    """Images whose logits were not compared: the mean of a feature lies so close to the threshold of a gate of EMGNet
    that rounding opens or shuts it."""

    def failures(self) -> list[str]:
        """Return which bars were not reached."""
        limits = {
            "logits differ by": (self.logit_difference, self.bars["logits"] * self.largest_logit),
            "a batch of 7 and single images differ by": (
                self.batch_difference,
                self.bars["batches"] * self.largest_logit,
            ),
            "probabilities differ by": (self.probability_difference, self.bars["probabilities"]),
            "pixels differ by": (self.pixel_levels or 0.0, self.bars["pixel_levels"]),
            "pixels differ in the mean by": (self.mean_pixel_levels or 0.0, self.bars["mean_pixel_levels"]),
        }
        # Written so that "not a number" fails too.
        failed = [
            f"{what} {found:.3g}, allowed {most:.3g}" for what, (found, most) in limits.items() if not found <= most
        ]
        if not self.agreement >= self.bars["agreement"]:
            failed.append(f"{self.agreement:.2f} % of the answers agree, wanted {self.bars['agreement']:g} %")
        if self.routes is not None and self.routes.wrong:
            failed.append(f"{self.routes.wrong:,} of {sum(self.routes.taken):,} answers come from another exit")
        return failed

    def record(self) -> dict[str, Any]:
        """Return what stands in the file's metadata."""
        return {name: list(value) if isinstance(value, tuple) else value for name, value in asdict(self).items()}


def prove(
    run: Run,
    network: nn.Module,
    preprocessing: Preprocessing,
    chosen: ProofImages,
    runtime: str,
    prepare: Prepare | None = None,
    bars: Mapping[str, float] = BARS,
    policy: ExitPolicy | None = None,
) -> Proof:
    """Compare a file with the network on real images, in batches of 1, 2 and 7, and on pictures of odd sizes.

    Args:
        run: Runs the file on a batch and returns logits and probabilities, and exits if there is a policy. A batch is
            uint8 ``(N, H, W, 3)`` of any size if `prepare` is given, else what `Preprocessing.normalise` returns.
        network: What the file was made from, on the CPU.
        preprocessing: How its images are prepared.
        chosen: The real images.
        runtime: What runs the file.
        prepare: Runs the part of the file that prepares the images, and returns the input of the network.
        bars: What must be reached.
        policy: By which images leave the file early.

    Raises:
        ProofFailed: A bar is not reached.
    """
    images = [*chosen.images, *odd_images(chosen.images, preprocessing.img_size, ODD_IMAGES)]
    reference, seen = Reference(network, policy), _Seen(preprocessing)
    with evaluation_mode(network), torch.inference_mode():
        for batch in _batches(images, by_size=prepare is not None):
            own = preprocessing.normalise(np.stack([preprocessing.pixels(image) for image in batch]))
            given: NDArray[Any] = own
            prepared = own
            if prepare is not None:
                given = np.stack([np.asarray(image) for image in batch])
                prepared = prepare(given)
            wanted = reference.answer(own)
            same_input = wanted if np.array_equal(prepared, own) else reference.answer(prepared)
            seen.add(run(given), same_input, wanted, prepared, own)
        size = chosen.images[0].size
        seven = [chosen.images[number % len(chosen.images)] for number in range(7)]
        alike = np.stack([np.asarray(image if image.size == size else image.resize(size)) for image in seven])
        if prepare is None:
            alike = preprocessing.normalise(np.stack([preprocessing.pixels(Image.fromarray(each)) for each in alike]))
        seen.add_seven(run, alike, reference.answer(alike if prepare is None else prepare(alike)))
    proof = replace(seen.proof(len(chosen.images), chosen, runtime, inside=prepare is not None), bars=dict(bars))
    if policy is not None:
        proof = replace(proof, routes=seen.routes.proof())
    if failures := proof.failures():
        raise ProofFailed("; ".join(failures))
    return proof


def check_finished(
    finished: Run, proven: Run, image: Image.Image, preprocessing: Preprocessing, *, inside: bool
) -> None:
    """Run what is written, which differs from what was proven by its metadata: it must open, and answer the same.

    Args:
        finished: Runs the finished file, see `prove`.
        proven: Runs what was proven.
        image: RGB.
        preprocessing: How images are prepared.
        inside: Whether the file does it.

    Raises:
        ProofFailed: It answers something else.
    """
    given = (np.asarray(image) if inside else preprocessing.normalise(preprocessing.pixels(image)))[None]
    if not np.array_equal(finished(given)[0], proven(given)[0]):
        raise ProofFailed("with its metadata the file answers something else")


def _batches(images: Sequence[Image.Image], *, by_size: bool) -> Iterator[list[Image.Image]]:
    """Yield images of one size, by 1, by 2, by 7 and so on."""
    groups: dict[Any, list[Image.Image]] = defaultdict(list)
    for image in images:
        groups[image.size if by_size else None].append(image)
    sizes = itertools.cycle(BATCHES)
    for group in groups.values():
        rest = iter(group)
        while batch := list(itertools.islice(rest, next(sizes))):
            yield batch


def _largest(differences: NDArray[Any]) -> float:
    return float(np.abs(differences).max())


def _where(kept: NDArray[np.bool_], differences: NDArray[Any]) -> NDArray[Any]:
    """Return zero for the rows that are not kept, but "not a number" stays what it is."""
    return np.where(kept[:, None], differences, 0 * differences)


class _Seen:
    """What has been compared so far."""

    def __init__(self, preprocessing: Preprocessing) -> None:
        self.levels = 255 * np.array(preprocessing.std, np.float64).reshape(3, 1, 1)
        self.wanted: list[Floats] = []
        self.found: list[Floats] = []
        self.certain: list[NDArray[np.bool_]] = []
        self.routes = Routes()
        self.logits = self.end_to_end = self.batches = self.probabilities = self.pixels = self.pixel_sum = 0.0
        self.pixel_count = 0

    def add(
        self, answer: tuple[NDArray[Any], ...], same_input: Expected, wanted: Expected, prepared: Floats, own: Floats
    ) -> None:
        logits, probabilities, *rest = answer
        exits = rest[0] if rest else same_input.exits
        self.routes.add(exits, same_input)
        self.found.append(logits)
        self.wanted.append(wanted.at(wanted.exits))
        self.certain.append(wanted.certain(wanted.exits))
        differences = _where(same_input.certain(exits), logits - same_input.at(exits))
        self.logits = np.maximum(self.logits, _largest(differences))  # unlike max(), it keeps "not a number"
        both = _where(exits == wanted.exits, logits - wanted.at(exits))
        self.end_to_end = np.maximum(self.end_to_end, _largest(both))
        softmax = torch.from_numpy(logits).double().softmax(dim=1).numpy()
        self.probabilities = np.maximum(self.probabilities, _largest(probabilities - softmax))
        levels = np.abs((prepared.astype(np.float64) - own) * self.levels)
        self.pixels = np.maximum(self.pixels, levels.max())
        self.pixel_sum += float(levels.sum())
        self.pixel_count += levels.size

    def add_seven(self, run: Run, images: NDArray[Any], expected: Expected) -> None:
        """Compare a batch with its images alone, those left out for which rounding decides."""
        together = run(images)
        alone = [np.concatenate(parts) for parts in zip(*(run(each[None]) for each in images), strict=True)]
        for answer in (together, alone):
            self.routes.add(answer[2] if len(answer) > 2 else expected.exits, expected)
        steady = expected.decided() & expected.certain(expected.exits)
        self.batches = _largest(_where(steady, together[0] - alone[0]))

    def proof(self, count: int, chosen: ProofImages, runtime: str, *, inside: bool) -> Proof:
        found, wanted = np.concatenate(self.found), np.concatenate(self.wanted)
        largest, certain = _largest(wanted), np.concatenate(self.certain)
        second, first = np.sort(wanted, axis=1)[:, -2:].T
        decided = certain & (first - second > 2 * BARS["logits"] * largest)
        agree = (found.argmax(axis=1) == wanted.argmax(axis=1))[decided]
        notes = list(chosen.notes)
        if 2 * decided.sum() < len(decided):
            notes.append("the network is undecided on most images: the proof rests on the logits")
        return Proof(
            images=count,
            odd_images=len(wanted) - count,
            data=chosen.data,
            parts=chosen.parts,
            agreement=100 * float(agree.mean()) if len(agree) else 100.0,
            undecided=int((~decided).sum()),
            logit_difference=float(self.logits),
            end_to_end_difference=float(self.end_to_end),
            largest_logit=largest,
            batch_difference=float(self.batches),
            probability_difference=float(self.probabilities),
            # A thousandth of a level is the rounding of the normalisation.
            pixel_levels=round(float(self.pixels), 2) if inside else None,
            mean_pixel_levels=round(self.pixel_sum / self.pixel_count, 5) if inside else None,
            runtime=runtime,
            notes=tuple(notes),
            at_gates=int((~certain).sum()),
        )
