"""Several processes that train one network: what they agree on, and batch norm over all of them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
import torch.distributed as dist
import torch.nn.functional as F
from timm.layers import convert_sync_batchnorm
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

__all__ = ["GlobalBatchNorm", "agree", "make_control_group", "synchronise_batch_norm"]


def make_control_group() -> Any:
    """Make a group of processes that exchange flags on the CPU, so that no GPU waits; None for a single process."""
    return dist.new_group(backend="gloo") if dist.is_initialized() and dist.get_world_size() > 1 else None


def agree(value: int, group: Any) -> int:
    """Return the largest value that any process has; with no group the value itself."""
    if group is None:
        return value
    largest = torch.tensor(value)
    dist.all_reduce(largest, dist.ReduceOp.MAX, group)
    return int(largest)


def synchronise_batch_norm(model: nn.Module, device: torch.device) -> nn.Module:
    """Let every batch norm take its statistics over the batches of all processes.

    On GPUs that is torch's SyncBatchNorm, through timm, which knows its own batch norms with an activation inside. On
    CPUs torch has none: there `GlobalBatchNorm` must be entered around each forward pass.
    """
    return convert_sync_batchnorm(model) if device.type == "cuda" else model


class GlobalBatchNorm(TorchFunctionMode):
    """While entered, batch norms in training mode use mean and variance over all processes.

    It replaces the function that every kind of batch norm calls, so no module changes. The result equals that of one
    process with all images, up to the order of sums.
    """

    def __init__(self) -> None:
        super().__init__()
        # A group of its own: gradients are exchanged at the same time, and two exchanges must not be mixed up.
        self.group = dist.new_group(backend="gloo")

    def __torch_function__(self, function: Callable[..., Any], types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Replace `torch.nn.functional.batch_norm`, leave everything else alone."""
        kwargs = kwargs or {}
        if function is F.batch_norm:
            return self.batch_norm(*args, **kwargs)
        return function(*args, **kwargs)

    def batch_norm(
        self,
        x: Tensor,
        running_mean: Tensor | None,
        running_var: Tensor | None,
        weight: Tensor | None = None,
        bias: Tensor | None = None,
        training: bool = False,
        momentum: float = 0.1,
        eps: float = 1e-5,
    ) -> Tensor:
        """Compute what `torch.nn.functional.batch_norm` would for the batches of all processes put together."""
        if not training:
            return F.batch_norm(x, running_mean, running_var, weight, bias, False, momentum, eps)
        axes = [axis for axis in range(x.ndim) if axis != 1]
        shape = [-1 if axis == 1 else 1 for axis in range(x.ndim)]
        values = x if x.dtype is torch.float64 else x.float()
        count = values.new_tensor([values.numel() / values.shape[1]])
        sums = _SumOverProcesses.apply(torch.cat((values.sum(axes), count)), self.group)
        total, mean = sums[-1].detach(), sums[:-1] / sums[-1].detach()
        centred = values - mean.view(shape)
        var = _SumOverProcesses.apply(centred.square().sum(axes), self.group) / total
        if running_mean is not None and running_var is not None:
            with torch.no_grad():
                running_mean.lerp_(mean.to(running_mean.dtype), momentum)
                running_var.lerp_((var * total / (total - 1)).to(running_var.dtype), momentum)
        result = centred * torch.rsqrt(var + eps).view(shape)
        if weight is not None:
            result = result * weight.view(shape)
        if bias is not None:
            result = result + bias.view(shape)
        return result.to(x.dtype)


class _SumOverProcesses(torch.autograd.Function):
    """The sum over processes; so is its gradient, since every process uses the result."""

    @staticmethod
    def forward(context: Any, x: Tensor, group: Any) -> Tensor:
        context.group = group
        total = x.clone()
        dist.all_reduce(total, group=group)
        return total

    @staticmethod
    def backward(context: Any, *gradients: Tensor) -> tuple[Tensor, None]:
        total = gradients[0].clone()
        dist.all_reduce(total, group=context.group)
        return total, None
