"""Efficient multi-scale features: a 5x5 kernel whose ring is used only where a gate finds the 3x3 result worth it.

Source: Lee, Shin and Woo, "Efficient Multi-Scale Feature Generation Network", section 3.2, figure 2, equations 2 to 6.
What the paper leaves open and its public code answers is marked "public code".
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

__all__ = ["ChannelGate", "EMGModule", "MultiScaleConv2d", "SurrogateStep", "gate_regularisation"]

Gates = Literal["learned", "open", "closed"]


class SurrogateStep(torch.autograd.Function):
    """Heaviside's step, whose gradient is replaced by a triangle with two shoulders.

    Forward: 1 where ``x >= 0``, else 0. Backward: ``2 - 4 |x|`` for ``|x| <= 0.4``, ``0.4`` for ``0.4 < |x| <= 1``, and
    0 beyond.

    Source: the step H of equation 5; its surrogate is that of the public code.
    """

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        """Any shape -> the same, of zeros and ones."""
        ctx.save_for_backward(x)
        return (x >= 0).to(x.dtype)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Tensor:
        """Multiply the gradient with the surrogate's."""
        (x,) = ctx.saved_tensors
        size = x.abs()
        return gradients[0] * (2 - 4 * size).clamp(min=0.4) * (size <= 1)


class ChannelGate(nn.Module):
    """Decide for each image and channel whether a 3x3 feature is strong enough to deserve its larger scale.

    ``D_i = H(sigmoid(GAP(|I_i| - t_i)) - 0.5)``, which is 1 exactly when the mean of ``|I_i|`` reaches ``t_i``. The
    threshold ``t`` is learned and begins with 0, so that all gates are open (public code).

    Args:
        channels: How many features there are.

    Shape: ``(N, C, H, W)`` -> ``(N, C, 1, 1)``, zeros and ones.
    Source: EMGNet, equations 3 to 5; printed with the 0.5 inside the sigmoid, which would shift the threshold.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.threshold = nn.Parameter(torch.zeros(channels))

    def forward(self, inner: Tensor) -> Tensor:
        """Take the features of the inner kernel and return the decisions."""
        # In the precision of the thresholds, for images in half precision too.
        margin = inner.abs().mean(dim=(2, 3), dtype=self.threshold.dtype) - self.threshold
        x = torch.tanh(margin / 2) / 2  # sigmoid(margin) - 0.5, with its sign right however small the margin is
        # TorchScript knows no functions with a backward pass of their own.
        decision: Tensor = (x >= 0).to(x.dtype) if torch.jit.is_scripting() else SurrogateStep.apply(x)  # type: ignore[attr-defined]
        return decision[:, :, None, None]


class MultiScaleConv2d(nn.Module):
    """One kernel that answers at two scales: its centre always, its ring where the gate is open.

    ``Y_i = X * W_inner`` where ``D_i = 0``, and ``X * W_inner + X * W_outer`` where ``D_i = 1``: the inner result is
    used again, so that an open gate costs the multiplications of the ring only.

    Here the masked form is computed: the ring is convolved for all channels and multiplied with the decisions, since on
    dense hardware that takes less time than picking channels. MACs are counted as the method needs them.

    Args:
        channels: Input and output channels.
        kernel_size: Side of the whole kernel, odd.
        inner_size: Side of its centre, odd.
        groups: As for `nn.Conv2d`; by default one for each channel (depthwise: decided, the paper prints nothing).

    Shape: ``(N, C, H, W)`` -> the same.
    Source: EMGNet, equation 2.
    """

    def __init__(self, channels: int, kernel_size: int = 5, inner_size: int = 3, groups: int | None = None) -> None:
        super().__init__()
        if not (kernel_size % 2 == inner_size % 2 == 1 and kernel_size > inner_size):
            raise ValueError(f"a kernel of {kernel_size} has no centre of {inner_size}")
        self.channels = channels
        self.kernel_size = kernel_size
        self.inner_size = inner_size
        self.groups = groups or channels
        self.gates: Gates = "learned"
        self.ring: Tensor
        self.weight = nn.Parameter(torch.empty(channels, channels // self.groups, kernel_size, kernel_size))
        nn.init.kaiming_normal_(self.weight, nonlinearity="relu")
        self.gate = ChannelGate(channels)
        ring = torch.ones(kernel_size, kernel_size)
        self._centre_of(ring).zero_()
        self.register_buffer("ring", ring, persistent=False)

    def _centre_of(self, kernel: Tensor) -> Tensor:
        edge = (self.kernel_size - self.inner_size) // 2
        return kernel[..., edge : edge + self.inner_size, edge : edge + self.inner_size]

    @property
    @torch.jit.unused
    def ring_macs(self) -> int:
        """Multiply-accumulates that an open gate adds at one position of one channel."""
        return (self.kernel_size**2 - self.inner_size**2) * self.channels // self.groups

    def forward(self, x: Tensor) -> Tensor:
        """Convolve with the centre, decide, and add the ring."""
        if self.gates == "open":
            return self._convolve(x, self.weight)
        inner = self._convolve(x, self._centre_of(self.weight))
        if self.gates == "closed":
            return inner
        return inner + self.gate(inner).to(inner.dtype) * self._convolve(x, self.weight * self.ring)

    def _convolve(self, x: Tensor, weight: Tensor) -> Tensor:
        return F.conv2d(x, weight, padding=weight.shape[-1] // 2, groups=self.groups)

    @contextmanager
    def counted_form(self) -> Iterator[None]:
        """Compute the whole kernel at once for a while, as it is counted unless the gates were set before."""
        before = self.gates
        self.gates = "open" if before == "learned" else before
        try:
            yield
        finally:
            self.gates = before

    def extra_repr(self) -> str:
        """Name what the constructor was given."""
        return f"{self.channels}, kernel_size={self.kernel_size}, inner_size={self.inner_size}, groups={self.groups}"


class EMGModule(nn.Module):
    """Features of scale 1x1, 3x3 and 5x5 in place of a convolution: half its channels pointwise, half from those.

    ``Y'`` = ReLU(BN(1x1 convolution)), ``Y''`` = BN(multi-scale convolution of ``Y'``), output = ``concat(Y', Y'')``.
    The block's own activation follows the module, as it follows a convolution in ResNet.

    Args:
        in_channels: Input channels.
        channels: Output channels, even.
        stride: Of the 1x1 convolution (decided).

    Shape: ``(N, in_channels, H, W)`` -> ``(N, channels, H / stride, W / stride)``.
    Source: EMGNet, section 3.2 and figure 2. The concatenation, the places of the batch norms and of the stride are
    decided: the paper says only that the output holds features of the three scales.
    """

    def __init__(self, in_channels: int, channels: int, stride: int = 1) -> None:
        super().__init__()
        if channels % 2:
            raise ValueError(f"{channels} channels cannot be halved")
        half = channels // 2
        self.pointwise = nn.Conv2d(in_channels, half, 1, stride, bias=False)
        self.pointwise_norm = nn.BatchNorm2d(half)
        self.multi_scale = MultiScaleConv2d(half)
        self.multi_scale_norm = nn.BatchNorm2d(half)

    def forward(self, x: Tensor) -> Tensor:
        """Compute the pointwise features, and from them those of larger scale."""
        pointwise = torch.relu(self.pointwise_norm(self.pointwise(x)))
        multi_scale = self.multi_scale_norm(self.multi_scale(pointwise))
        if not (torch.jit.is_scripting() or torch.compiler.is_compiling()) and multi_scale.requires_grad:  # type: ignore[attr-defined]
            # Of a concatenation come slices, in which the batch norm's backward pass takes twice as long.
            multi_scale.register_hook(_dense)
        return torch.cat([pointwise, multi_scale], dim=1)


def _dense(gradient: Tensor) -> Tensor:
    if gradient.ndim == 4 and gradient.stride(1) == 1:
        return gradient.contiguous(memory_format=torch.channels_last)
    return gradient.contiguous()


def gate_regularisation(network: nn.Module) -> Tensor:
    """Return ``L_r``, the sum of ``exp(-t)`` over the thresholds of all gates of a network; 0 where it has none.

    Source: EMGNet, equation 6.
    """
    terms = [torch.exp(-gate.threshold).sum() for gate in network.modules() if isinstance(gate, ChannelGate)]
    return torch.stack(terms).sum() if terms else torch.zeros(())
