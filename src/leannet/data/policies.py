"""Published policies of augmentation by their short names, on torchvision's transforms."""

from __future__ import annotations

import re
from typing import Any

import torch
from torch import Tensor
from torchvision.transforms import v2

from leannet_runtime.errors import UserError

__all__ = ["apply_policy", "make_policy"]

KNOWN = "rand-m9-n2 (RandAugment, magnitude 0 to 10, number of operations), trivial, auto or augmix"

# torchvision counts RandAugment's magnitude from 0 to 30, timm, whose spelling this is, from 0 to 10.
MAGNITUDE_BINS = 31
MOST_MAGNITUDE = 10

# A uniform float32 number below 1 has so many different values.
SEEDS = 2**24


def make_policy(text: str) -> v2.Transform:
    """Make a transform of uint8 images.

    Args:
        text: "rand-m9-n2", in timm's spelling: RandAugment of magnitude 9 on a scale to 10 (the default), with
            2 operations an image (the default); "trivial": TrivialAugmentWide; "auto": AutoAugment with the policy for
            ImageNet; "augmix": AugMix.

    Raises:
        UserError: It is none of these.
    """
    named = {"trivial": v2.TrivialAugmentWide, "auto": v2.AutoAugment, "augmix": v2.AugMix}
    if text in named:
        return named[text]()
    kind, *parts = text.split("-")
    if kind != "rand":
        raise UserError(f"augmentation {text!r}", "not known", f"Choose {KNOWN}")
    values = {"m": MOST_MAGNITUDE, "n": 2}
    for part in parts:
        match = re.fullmatch(r"([mn])(\d+)", part)
        if not match:
            raise UserError(f"augmentation {text!r}", f"its part {part!r} is not known", f"Choose {KNOWN}")
        values[match[1]] = int(match[2])
    if values["m"] > MOST_MAGNITUDE or values["n"] < 1:
        why = f"the magnitude m is at most {MOST_MAGNITUDE}, the number n of operations at least 1"
        raise UserError(f"augmentation {text!r}", why, f"Choose {KNOWN}")
    magnitude = values["m"] * (MAGNITUDE_BINS - 1) // MOST_MAGNITUDE
    return v2.RandAugment(num_ops=values["n"], magnitude=magnitude, num_magnitude_bins=MAGNITUDE_BINS)


def apply_policy(policy: Any, images: Tensor, draws: Tensor) -> Tensor:
    """Change each image of a batch by random numbers that belong to it.

    The transforms draw from the global random numbers, which are seeded for each image and put back in the end.

    Args:
        policy: From `make_policy`.
        images: uint8 of shape ``(B, 3, H, W)``.
        draws: A uniform number in [0, 1) for each image; shape ``(B,)``.

    Returns:
        uint8 of the same shape.
    """
    state = torch.get_rng_state()
    try:
        changed = []
        for image, draw in zip(images, draws.tolist(), strict=True):
            torch.default_generator.manual_seed(int(draw * SEEDS))  # torch.manual_seed would seed all GPUs too
            changed.append(policy(image))
        return torch.stack(changed)
    finally:
        torch.set_rng_state(state)
