"""timm's interface, written once for the networks that are a chain of stages."""

from __future__ import annotations

import torch
from timm.layers import ClassifierHead
from timm.models import checkpoint_seq
from timm.models._features import feature_take_indices
from torch import Tensor, nn

__all__ = ["StagedNetwork"]


class StagedNetwork(nn.Module):
    """stem -> stages -> neck -> pool, dropout, classifier.

    Args:
        stem: What comes before the first stage; `nn.Identity` where a network has none.
        stages: The stages in order, each an `nn.Sequential` of blocks.
        neck: What comes between the last stage and the pooling.
        channels: Output channels of every stage.
        reductions: How many input pixels one output position of every stage stands for, along one side.
        num_features: Channels after the neck.
        num_classes: Number of classes; 0 leaves the pooled features.
        in_chans: Number of input channels.
        drop_rate: Dropout before the classifier.
        global_pool: timm's name of the pooling ("avg", "max", "" for none, ...).

    Shape: ``(N, in_chans, H, W)`` -> ``(N, num_classes)``.
    """

    def __init__(
        self,
        stem: nn.Module,
        stages: list[nn.Sequential],
        neck: nn.Module,
        *,
        channels: list[int],
        reductions: list[int],
        num_features: int,
        num_classes: int,
        in_chans: int,
        drop_rate: float,
        global_pool: str,
    ) -> None:
        super().__init__()
        self.num_classes = num_classes
        self.in_chans = in_chans
        self.drop_rate = drop_rate
        self.grad_checkpointing = False
        self.stem = stem
        self.stages = nn.Sequential(*stages)
        self.neck = neck
        # Users of feature pyramids expect one feature map a resolution: the last stage before each reduction.
        last_stages = [i for i, r in enumerate(reductions) if i + 1 == len(reductions) or reductions[i + 1] > r]
        self.feature_info = [
            {"module": f"stages.{i}", "num_chs": channels[i], "reduction": reductions[i], "stage": i}
            for i in last_stages
        ]
        self.num_features = self.head_hidden_size = num_features
        self.head = ClassifierHead(num_features, num_classes, pool_type=global_pool, drop_rate=drop_rate)
        self.head_hidden_size = self.head.num_features
        self.apply(_initialise)

    @torch.jit.ignore
    def group_matcher(self, coarse: bool = False) -> dict[str, object]:
        """Return the patterns by which timm groups the parameters (layer-wise learning rates)."""
        return {
            "stem": r"^stem",
            "blocks": [(r"^stages\.(\d+)" if coarse else r"^stages\.(\d+)\.(\d+)", None), (r"^neck", (99999,))],
        }

    @torch.jit.ignore
    def set_grad_checkpointing(self, enable: bool = True) -> None:
        """Trade time for memory in training: recompute the blocks in the backward pass."""
        self.grad_checkpointing = enable

    @torch.jit.ignore
    def get_classifier(self) -> nn.Module:
        """Return the last linear layer."""
        return self.head.fc

    def reset_classifier(self, num_classes: int, global_pool: str | None = None) -> None:
        """Replace the classifier.

        Args:
            num_classes: Number of classes of the new one; 0 removes it.
            global_pool: Name of the new pooling; the present one stays if it is None.
        """
        self.num_classes = num_classes
        self.head.reset(num_classes, global_pool)
        self.head_hidden_size = self.head.num_features

    def forward_intermediates(
        self,
        x: Tensor,
        indices: int | list[int] | None = None,
        norm: bool = False,  # noqa: ARG002  (timm's signature)
        stop_early: bool = False,
        output_fmt: str = "NCHW",
        intermediates_only: bool = False,
    ) -> list[Tensor] | tuple[Tensor, list[Tensor]]:
        """Return the feature maps that `feature_info` describes.

        Args:
            x: Images ``(N, in_chans, H, W)``.
            indices: Which of `feature_info`; the last ones if a number, all if None.
            norm: Accepted for timm's sake; every stage ends normalised.
            stop_early: Do not run the stages after the last one asked for.
            output_fmt: "NCHW".
            intermediates_only: Leave out the final features.

        Returns:
            The list of feature maps, or the final features and the list.
        """
        if output_fmt != "NCHW":
            raise ValueError(f"output_fmt must be NCHW, not {output_fmt}")
        take, last = feature_take_indices(len(self.feature_info), indices)
        taken_stages = [self.feature_info[i]["stage"] for i in take]
        end = self.feature_info[last]["stage"] + 1 if stop_early else len(self.stages)
        intermediates = []
        x = self.stem(x)
        for i, stage in enumerate(self.stages[:end]):
            x = checkpoint_seq(stage, x) if self.grad_checkpointing else stage(x)
            if i in taken_stages:
                intermediates.append(x)
        if intermediates_only:
            return intermediates
        return (self.neck(x) if end == len(self.stages) else x), intermediates

    def prune_intermediate_layers(
        self, indices: int | list[int] = 1, prune_norm: bool = False, prune_head: bool = True
    ) -> list[int]:
        """Delete what `forward_intermediates` does not need for these indices.

        Args:
            indices: Which of `feature_info` are kept.
            prune_norm: Delete the neck as well.
            prune_head: Delete the classifier as well.

        Returns:
            The indices as a list.
        """
        take, last = feature_take_indices(len(self.feature_info), indices)
        end = self.feature_info[last]["stage"] + 1
        cut = end < len(self.stages)
        self.stages = self.stages[:end]
        if prune_norm or prune_head or cut:
            self.neck = nn.Identity()
            self.num_features = self.feature_info[last]["num_chs"]
            self.head.reset(0, "", in_features=self.num_features)
            self.num_classes = 0
            self.head_hidden_size = self.head.num_features
        return take

    def forward_features(self, x: Tensor) -> Tensor:
        """``(N, in_chans, H, W)`` -> the features before pooling, ``(N, num_features, h, w)``."""
        x = self.stem(x)
        if self.grad_checkpointing and not torch.jit.is_scripting():  # type: ignore[attr-defined]
            x = checkpoint_seq(self.stages, x, flatten=True)
        else:
            x = self.stages(x)
        return self.neck(x)

    def forward_head(self, x: Tensor, pre_logits: bool = False) -> Tensor:
        """Features -> logits, or pooled features ``(N, head_hidden_size)`` if ``pre_logits``."""
        return self.head(x, pre_logits=pre_logits)

    def forward(self, x: Tensor) -> Tensor:
        """Images ``(N, in_chans, H, W)`` -> logits ``(N, num_classes)``."""
        return self.forward_head(self.forward_features(x))


def _initialise(module: nn.Module) -> None:
    """He's initialisation for convolutions, as torchvision's MobileNetV2 and ResNet do it."""
    if isinstance(module, nn.Conv2d):
        nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
        if module.bias is not None:
            nn.init.zeros_(module.bias)
