"""Where in an image the network saw a class: class activation maps, laid over what it sees."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor, nn

from leannet.deploy.predictor import TorchPredictor
from leannet_runtime import UserError, decode_image

__all__ = ["Explainer"]

SMALLEST = 224  # pixels: a picture of 32 shows nothing
STRENGTH = 0.6  # how much of the picture the hottest place covers


class Explainer:
    """Class activation maps of a network that ends with average pooling and a linear classifier.

    There the logit of a class is the mean over the positions of the last feature map, weighted by channel: the map
    shows what each position adds.

    Args:
        predictor: The network.
        name: What errors call it.

    Raises:
        UserError: The network ends otherwise, or images leave it early.

    Source: Zhou et al., Learning Deep Features for Discriminative Localization, CVPR 2016.
    """

    def __init__(self, predictor: TorchPredictor, name: str) -> None:
        self.predictor = predictor
        self.model = predictor.model
        if predictor.staged is not None:
            why = "its images leave by several exits, and a map shows what the last one sees"
            raise UserError(
                f"--explain with {name}", why, "Leave --explain away, or give the network without its exits"
            )
        known = hasattr(self.model, "get_classifier") and hasattr(self.model, "forward_features")
        classifier = self.model.get_classifier() if known else None  # type: ignore[operator]
        if not isinstance(classifier, nn.Linear) or not self._is_mean(classifier):
            why = "class activation maps need a linear classifier right after average pooling, and it ends otherwise"
            raise UserError(f"--explain with {name}", why, "Leave --explain away, or give another network")
        self.classifier = classifier

    def activation_map(self, pixels: NDArray[np.uint8], label: int) -> NDArray[np.float32]:
        """Return what each position adds to the logit of a class.

        Args:
            pixels: The square that the network sees, ``(S, S, 3)``.
            label: The class.

        Returns:
            ``(h, w)`` of the last feature map; its mean is the logit without the bias.
        """
        images = torch.from_numpy(self.predictor.preprocessing.normalise(pixels[None]))
        with torch.inference_mode():
            features = self._features(images)[0]
            return torch.einsum("chw,c->hw", features, self.classifier.weight[label]).numpy()

    def overlay(self, source: str, label: str) -> Image.Image:
        """Return what the network sees of an image, darker where nothing speaks for the class and red where most does.

        Args:
            source: Path of the image.
            label: Name of the class.

        Raises:
            DamagedImage: The image cannot be read.
        """
        pixels = self.predictor.prepare(decode_image(source))
        heat = self.activation_map(pixels, self.predictor.label_names.index(label)).clip(min=0)
        heat /= max(float(heat.max()), np.finfo(np.float32).tiny)
        side = max(SMALLEST, len(pixels))
        picture = Image.fromarray(pixels).resize((side, side), Image.Resampling.BICUBIC)
        mask = Image.fromarray((255 * STRENGTH * heat).astype(np.uint8)).resize((side, side), Image.Resampling.BILINEAR)
        grey = picture.convert("L").convert("RGB")
        return Image.composite(Image.new("RGB", grey.size, (255, 0, 0)), grey, mask)

    def _is_mean(self, classifier: nn.Linear) -> bool:
        """Try out whether the logits are the mean of the last feature map through the classifier."""
        size = self.predictor.preprocessing.img_size
        images = torch.randn(2, 3, size, size, generator=torch.Generator().manual_seed(0))
        with torch.inference_mode():
            features = self._features(images)
            if features.ndim != 4 or features.shape[1] != classifier.in_features:
                return False
            logits = self.model(images)
            return torch.allclose(classifier(features.mean(dim=(2, 3))), logits, rtol=1e-3, atol=1e-4)

    def _features(self, images: Tensor) -> Tensor:
        return self.model.forward_features(images)  # type: ignore[operator]
