"""From a saved network to its graph of 8 bits, refused where that cannot be had."""

from __future__ import annotations

from collections.abc import Callable

import onnx

from leannet.deploy.int8.climb import climb
from leannet.deploy.int8.images import calibration_and_held_out
from leannet.deploy.int8.outcome import Quantised
from leannet.early_exit.saved import CONFIG_KEY
from leannet.models import read_model_config
from leannet.training import SavedNetwork
from leannet_runtime import UserError

__all__ = ["Quantisation"]


class Quantisation:
    """Quantises the graph of a network when it is called with it, and keeps how that was done.

    Args:
        network: Whose graph it is.
        calibration_images: How many, from the training part.
        max_drop: Points of top-1 accuracy that may be lost.
        data: See `leannet.deploy.int8.images.calibration_and_held_out`.
        on_step: Told what is done now.

    Raises:
        UserError: Images leave the network early, or its training images are not known.
    """

    def __init__(
        self,
        network: SavedNetwork,
        calibration_images: int,
        max_drop: float,
        data: str | None,
        on_step: Callable[[str], None],
    ) -> None:
        if CONFIG_KEY in read_model_config(network.folder):
            why = "images leave it early, and the parts of such a graph are not quantised"
            raise UserError(f"--int8 of {network.folder}", why, "Export it without --int8")
        self.max_drop, self.on_step = max_drop, on_step
        self.result: Quantised | None = None
        self.images = calibration_and_held_out(network.folder, data, network.preprocessing, calibration_images)

    def __call__(self, model: onnx.ModelProto) -> onnx.ModelProto:
        """Return the graph of 8 bits.

        Raises:
            DropTooLarge: It would lose too much accuracy.
        """
        quantised, self.result = climb(model, *self.images, self.max_drop, on_step=self.on_step)
        return quantised
