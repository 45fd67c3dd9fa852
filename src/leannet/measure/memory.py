"""Peak memory of the activations in a forward pass."""

from __future__ import annotations

import weakref
from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_iter
from torch.utils.weak import WeakIdKeyDictionary

from leannet.measure.evaluation_mode import evaluation_mode

__all__ = ["peak_activation_bytes"]


def peak_activation_bytes(model: nn.Module, images: Tensor) -> int:
    """Measure the largest sum of tensors alive at once in an eager forward pass.

    Input, intermediate results and output count; weights and buffers do not, nor does scratch memory inside an
    operator.

    Args:
        model: Any network; it runs in evaluation mode without gradients.
        images: Input of the forward pass, ``(N, C, H, W)``.

    Returns:
        Bytes.
    """
    weights = {tensor.untyped_storage().data_ptr() for tensor in (*model.parameters(), *model.buffers())}
    ledger = _StorageLedger(weights)
    ledger.enter(images)
    with evaluation_mode(model), torch.no_grad(), ledger:
        model(images)
    return ledger.peak


class _StorageLedger(TorchDispatchMode):
    """Keep account of the storages that tensors hold, from the operator that makes them to their last reader."""

    def __init__(self, ignored: set[int]) -> None:
        super().__init__()
        self.ignored = ignored
        self.tensors = WeakIdKeyDictionary()
        self.holders: dict[int, int] = {}
        self.alive = 0
        self.peak = 0

    def __torch_dispatch__(
        self, func: Any, types: Iterable[type], args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        result = func(*args, **(kwargs or {}))
        for tensor in tree_iter(result):
            if isinstance(tensor, Tensor):
                self.enter(tensor)
        return result

    def enter(self, tensor: Tensor) -> None:
        """Count the storage of a tensor until nothing holds it any more."""
        storage = tensor.untyped_storage()
        key, size = storage.data_ptr(), storage.nbytes()
        if key == 0 or key in self.ignored or tensor in self.tensors:
            return
        self.tensors[tensor] = True
        if self.holders.setdefault(key, 0) == 0:
            self.alive += size
            self.peak = max(self.peak, self.alive)
        self.holders[key] += 1
        weakref.finalize(tensor, self._leave, key, size)

    def _leave(self, key: int, size: int) -> None:
        self.holders[key] -= 1
        if self.holders[key] == 0:
            self.alive -= size
