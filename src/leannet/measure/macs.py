"""Multiply-accumulates, counted where operators are dispatched."""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import FlopCounterMode, flop_registry, sdpa_flop_count

from leannet.measure.evaluation_mode import evaluation_mode

__all__ = ["MACS_RULE", "MacsCount", "count_macs", "count_parameters"]

MACS_RULE = (
    "MACs are the multiply-accumulates of convolutions, linear layers and matrix products for one image, counted "
    "where PyTorch dispatches operators; normalisation, activation, pooling and elementwise arithmetic are not counted."
)

# What the rule leaves out knowingly, beside everything that PyTorch tags as pointwise and every view.
# fmt: off
_WITHOUT_MACS = {
    "_adaptive_avg_pool2d", "_adaptive_avg_pool3d", "_assert_async", "_local_scalar_dense", "_log_softmax",
    "_native_batch_norm_legit", "_native_batch_norm_legit_no_training", "_softmax", "_to_copy", "_unsafe_view",
    "adaptive_avg_pool2d", "adaptive_max_pool2d", "all", "amax", "amin", "any", "arange", "argmax",
    "as_strided", "avg_pool1d", "avg_pool2d", "batch_norm", "bernoulli", "bitwise_and", "cat",
    "channel_shuffle", "clone", "constant_pad_nd", "copy", "cudnn_batch_norm", "cumsum", "empty", "empty_like",
    "fill", "flatten", "full", "full_like", "gather", "hardswish", "im2col", "index", "index_select",
    "lift_fresh", "linspace", "max", "max_pool2d", "max_pool2d_with_indices", "mean", "miopen_batch_norm",
    "mkldnn_max_pool2d", "native_batch_norm", "native_channel_shuffle", "native_dropout", "native_group_norm",
    "native_layer_norm", "new_empty", "new_full", "new_ones", "new_zeros", "ones_like", "pixel_shuffle",
    "pixel_unshuffle", "prod", "rand", "randn", "reflection_pad2d", "repeat", "repeat_interleave", "roll",
    "scalar_tensor", "select_backward", "slice_scatter", "softmax", "split", "split_with_sizes", "stack", "std",
    "sum", "unbind_copy", "unsafe_split", "upsample_bicubic2d", "upsample_bilinear2d", "upsample_nearest2d",
    "var", "var_mean", "zeros", "zeros_like", "_safe_softmax", "linalg_vector_norm", "ones", "eye",
}
# fmt: on


def _attention_flops(query: torch.Size, key: torch.Size, value: torch.Size, *_: Any, **__: Any) -> int:
    return sdpa_flop_count(query, key, value)


# PyTorch's counter knows attention on GPUs only.
_MORE_COUNTED = {torch.ops.aten._scaled_dot_product_flash_attention_for_cpu: _attention_flops}


@dataclass(frozen=True)
class MacsCount:
    """How many multiply-accumulates one image costs (`MACS_RULE`)."""

    total: int
    """MACs of the whole network."""

    by_module: dict[str, int]
    """MACs of every module that has any, by its dotted name; a parent contains its children."""

    uncounted: tuple[str, ...]
    """Operators that ran, are not counted, and are not known to be without multiply-accumulates."""


def count_parameters(model: nn.Module) -> int:
    """Count the trainable parameters (numbers, not tensors)."""
    return sum(parameter.numel() for parameter in model.parameters() if parameter.requires_grad)


def count_macs(model: nn.Module, images: Tensor) -> MacsCount:
    """Count the multiply-accumulates of one forward pass, divided by the number of images.

    The network runs in evaluation mode; it is left in the mode in which it was.

    Args:
        model: Any network.
        images: Input of the forward pass, ``(N, C, H, W)``.

    Returns:
        The count, by module, with the operators that escape it named.
    """
    counter = FlopCounterMode(display=False, custom_mapping=_MORE_COUNTED)
    witness = _OperatorWitness()
    trainable = [parameter for parameter in model.parameters() if parameter.requires_grad]
    try:
        for parameter in trainable:  # the counter hooks whatever wants a gradient, and fails on views of parameters
            parameter.requires_grad_(False)
        # Not inference_mode: operators dispatched there are invisible to the counter.
        with ExitStack() as forms, evaluation_mode(model), torch.no_grad(), counter, witness:
            for module in model.modules():
                # A layer that computes more than its method needs (a masked form, say) brings the form that counts.
                if (counted_form := getattr(module, "counted_form", None)) is not None:
                    forms.enter_context(counted_form())
            model(images)
    finally:
        for parameter in trainable:
            parameter.requires_grad_(True)
    flops_per_mac_and_image = 2 * images.shape[0]
    by_module = {
        name.partition(".")[2]: sum(flops.values()) // flops_per_mac_and_image
        for name, flops in counter.get_flop_counts().items()
        if "." in name
    }
    return MacsCount(
        total=counter.get_total_flops() // flops_per_mac_and_image,
        by_module=by_module,
        uncounted=tuple(sorted(witness.unknown)),
    )


class _OperatorWitness(TorchDispatchMode):
    """Note every operator that is neither counted nor known to be free of multiply-accumulates."""

    def __init__(self) -> None:
        super().__init__()
        self.unknown: set[str] = set()

    def __torch_dispatch__(
        self, func: Any, types: Iterable[type], args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        name = func._schema.name.partition("::")[2].removesuffix("_")
        free = torch.Tag.pointwise in func.tags or func.is_view or name in _WITHOUT_MACS
        if not free and func.overloadpacket not in {**flop_registry, **_MORE_COUNTED}:
            self.unknown.add(func._schema.name)
        return func(*args, **(kwargs or {}))
