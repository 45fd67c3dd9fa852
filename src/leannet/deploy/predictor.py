"""The predictor of a model folder, run by torch, with the interface of an exported file's."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch.nn.functional import softmax

from leannet.early_exit import StagedClassifier, read_policy
from leannet.models import has_exits, read_model_config
from leannet.training import SavedNetwork, load_saved_network
from leannet_runtime import Answer, Predictor
from leannet_runtime import load as load_file
from leannet_runtime.model_file import usable_threads

__all__ = ["TorchPredictor", "load"]


class TorchPredictor(Predictor):
    """A network from a model folder; a calibrated one with exits lets images leave early.

    Its `description` is the folder's ``config.json``. The logits of a network with a policy of exits are the logarithm
    of the probabilities, which may be the mean of several exits.

    Args:
        network: The network with what its folder says, on the CPU.
        threads: How many decode images; by default one for each core this process may use.

    Raises:
        UserError: The policy of exits in the folder does not fit the network.
    """

    def __init__(self, network: SavedNetwork, threads: int | None = None) -> None:
        super().__init__(
            network.num_classes,
            network.class_names,
            network.preprocessing,
            read_model_config(network.folder),
            network.weights_sha256,
            usable_threads(threads),
        )
        self.model = network.model.eval()
        exits = int(getattr(self.model, "num_exits", 1)) if has_exits(self.model) else 1
        policy = read_policy(network.folder, exits) if exits > 1 else None
        self.staged = None if policy is None else StagedClassifier(self.model, policy, count_gates=False)

    def prepare(self, image: Image.Image) -> NDArray[np.uint8]:
        """Return the square that the network sees, ``(S, S, 3)``."""
        return self.preprocessing.pixels(image)

    def run_pixels(self, pixels: NDArray[np.uint8]) -> Answer:
        """Answer a batch of prepared images, ``(N, S, S, 3)``."""
        images = torch.from_numpy(self.preprocessing.normalise(pixels))
        if self.staged is not None:
            left = self.staged(images)
            probabilities = left.probabilities.float()
            smallest = torch.finfo(probabilities.dtype).tiny
            logits = probabilities.clamp_min(smallest).log()
            return Answer(logits.numpy(), probabilities.numpy(), left.exits.numpy())
        with torch.inference_mode():
            logits = self.model(images).float()
            return Answer(logits.numpy(), softmax(logits, dim=1).numpy())


def load(path: str | Path, threads: int | None = None) -> Predictor:
    """Open what a network was saved as: a model folder, or an exported file.

    Args:
        path: The folder, or the file.
        threads: How many run an exported file and decode images; by default one for each core this process may use.

    Returns:
        A predictor, the same to use for both::

            predictor = leannet.load("runs/train/photos/best")
            for prediction in predictor.predict(["a.jpg", "b.jpg"]):
                print(prediction.name, prediction.labels[0], prediction.probabilities[0])

    Raises:
        UserError: It is neither, or something in it is damaged.
    """
    path = Path(path)
    return TorchPredictor(load_saved_network(path), threads) if path.is_dir() else load_file(path, threads)
