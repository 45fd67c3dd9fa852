"""Channel-wise squeeze and excitation (CSE): a spatial gate whose cost does not depend on the number of channels.

Source: Park and Kim, "Further Optimize MobileNetV2 with Channel-wise Squeeze and Excitation", section 3 and figure 1.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

__all__ = ["ChannelSqueezeExcitation", "stack_channels"]


class ChannelSqueezeExcitation(nn.Module):
    """Weigh every position of a feature map by what all channels show on average at all positions.

    squeeze (mean over the channels) -> flatten -> FC (reduction) -> FC (scaling) -> reshape -> stack over the
    channels -> excitation (multiply). The activations are SENet's, ReLU and sigmoid.

    The hidden width is ``max(height * width // reduction, cap)``: ``cap`` keeps a small map from being squeezed
    to almost nothing. The number of weights depends on the resolution only, so the block is tied to one size.

    Args:
        height: Height of the feature map.
        width: Width of the feature map.
        reduction: Reduction ratio r of the first FC. The paper prints none; 16 (SENet's) gives its counts.
        cap: Smallest hidden width.
        bias: Whether the FCs have a bias.
        batch_norm: Whether each FC is followed by a batch norm. With bias and norm, as by default, the networks of
            the paper come out at its printed counts.

    Shape: ``(N, C, height, width)`` -> the same.
    Source: Channel-wise squeeze and excitation, section 3.
    """

    def __init__(
        self,
        height: int,
        width: int,
        reduction: int = 16,
        cap: int = 16,
        bias: bool = True,
        batch_norm: bool = True,
    ) -> None:
        super().__init__()
        positions = height * width
        hidden = max(positions // reduction, cap)
        self.height = height
        self.width = width
        self.reduction = nn.Linear(positions, hidden, bias=bias)
        self.reduction_norm = nn.BatchNorm1d(hidden) if batch_norm else nn.Identity()
        self.scaling = nn.Linear(hidden, positions, bias=bias)
        self.scaling_norm = nn.BatchNorm1d(positions) if batch_norm else nn.Identity()

    def gate(self, x: Tensor) -> Tensor:
        """Compute the weight of every position: ``(N, C, height, width)`` -> ``(N, 1, height, width)`` in (0, 1)."""
        squeezed = x.mean(dim=1).flatten(1)  # (N, height * width)
        hidden = torch.relu(self.reduction_norm(self.reduction(squeezed)))
        scale = torch.sigmoid(self.scaling_norm(self.scaling(hidden)))
        return scale.unflatten(1, (1, self.height, self.width))

    def forward(self, x: Tensor) -> Tensor:
        """Multiply every channel with the same gate."""
        return x * self.gate(x)


def stack_channels(x: Tensor, channels: int) -> Tensor:
    """Repeat the channels in order until there are ``channels`` of them; the last repetition may be cut.

    Shape: ``(N, C, H, W)`` -> ``(N, channels, H, W)``.
    """
    repetitions = -(-channels // x.shape[1])
    return x.repeat(1, repetitions, 1, 1)[:, :channels]
