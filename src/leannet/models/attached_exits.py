"""Exits for a network that has none: what a user with a trained network wants.

The network keeps its modules, its weights and its answer; the exits stand beside it. A model folder names the network
and its exits, so that `with_exits` builds the same again.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

import timm
import torch
from timm.models import get_model_args, load_pretrained, register_model
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from leannet.measure import count_macs
from leannet.models.parts.chain import OTHER_NETWORK, Link, check_maps, find_chain
from leannet.models.parts.exit_heads import ExitHead, make_exit_head
from leannet.models.parts.multi_exit import MultiExit, has_exits
from leannet_runtime import UserError

__all__ = ["AttachedExits", "attach_exits"]

AUTO_SHARES = (1 / 3, 2 / 3)
"""Shares of the MACs near which there are exits if no stages are named."""


class AttachedExits(MultiExit, nn.Module):
    """A network with exits after some of its stages; its answer is that of the network.

    Args:
        backbone: A network of timm with ``feature_info``.
        stages: Names of the modules after which there is an exit, in the order in which they run.
        head: Name of the heads, see `leannet.models.parts.exit_heads`.
        img_size: Side in pixels of the images.
        name: What errors call the network.

    Shape: ``(N, in_chans, H, W)`` -> ``(N, num_classes)``.

    Raises:
        UserError: The network is no chain of modules that answer with maps.
    """

    trained_when_frozen: tuple[str, ...] = ("exits",)
    """What learns when everything else is frozen: the answer of the network stays what it was."""

    def __init__(self, backbone: nn.Module, stages: Sequence[str], head: str, img_size: int, name: str) -> None:
        super().__init__()
        chain = find_chain(backbone, name, tuple(stages), img_size)
        places = [link.name for link in chain]
        if inseparable := [stage for stage in stages if stage not in places]:
            why = "what runs there is no module of its own"
            raise UserError(f"no exit after {inseparable[0]} of {name}", why, "Choose other stages")
        check_maps(chain, name, stages, _channels(backbone))
        ends = [places.index(stage) + 1 for stage in stages]
        self._segments = [tuple(places[first:end]) for first, end in zip([0, *ends], [*ends, len(places)], strict=True)]
        self.backbone = backbone
        self.frozen = False
        self.grad_checkpointing = False
        self.stages = tuple(stages)
        self.exit_head = head
        last = chain[-1].shape
        shapes = {link.name: link.shape for link in chain}
        self.exits = nn.ModuleList(
            make_exit_head(
                head,
                shapes[stage][0],
                max(1, round(shapes[stage][-1] / last[-1])),
                last[0],
                self.num_classes,
                float(getattr(backbone, "drop_rate", 0.0)),
            )
            for stage in stages
        )
        self.exits.to(next(backbone.parameters()))
        facts: dict[str, Any] = dict(backbone.pretrained_cfg)  # type: ignore[arg-type]
        classifiers = facts.get("classifier") or ()
        classifiers = (classifiers,) if isinstance(classifiers, str) else tuple(classifiers)
        own = (f"exits.{index}.classifier.fc" for index in range(len(self.exits)))
        first = facts.get("first_conv")
        self.pretrained_cfg = self.default_cfg = {
            **facts,
            "architecture": "with_exits",
            "classifier": (*(f"backbone.{classifier}" for classifier in classifiers), *own),
            "first_conv": f"backbone.{first}" if isinstance(first, str) else first,
        }
        self._model_args = {
            "source": facts["architecture"],
            "source_args": get_model_args(backbone),
            "stages": list(stages),
            "exit_head": head,
            "img_size": img_size,
        }

    @property
    def num_classes(self) -> int:
        """Number of classes."""
        return int(self.backbone.num_classes)  # type: ignore[arg-type]

    @property
    def num_features(self) -> int:
        """Channels of the features before pooling."""
        return int(self.backbone.num_features)  # type: ignore[arg-type]

    @property
    def in_chans(self) -> int:
        """Number of input channels."""
        return int(getattr(self.backbone, "in_chans", 3))

    @property
    def feature_info(self) -> Any:
        """Timm's description of the feature maps, with the names that their modules have here."""
        info: Any = self.backbone.feature_info
        return [{**entry, "module": f"backbone.{entry['module']}"} for entry in getattr(info, "info", info)]

    def train(self, mode: bool = True) -> AttachedExits:
        """Choose the mode; a frozen network stays in evaluation mode, or its statistics would learn."""
        super().train(mode)
        if self.frozen:
            self.backbone.eval()
        return self

    def run_segment(self, index: int, x: Tensor) -> Tensor:
        """Run the modules between the exit before and this one."""
        for name in self._segments[index]:
            module = self.backbone.get_submodule(name)
            x = checkpoint(module, x, use_reentrant=False) if self.grad_checkpointing and self.training else module(x)
        return x

    def last_map(self, x: Tensor) -> Tensor:
        """Return the features: the last segment ends where ``forward_features`` ends."""
        return x

    def classify_last(self, x: Tensor) -> Tensor:
        """Run the head of the network."""
        return self.forward_head(x)

    def forward_features(self, x: Tensor) -> Tensor:
        """Images -> features before pooling."""
        features: Tensor = self.backbone.forward_features(x)  # type: ignore[operator]
        return features

    def forward_head(self, x: Tensor, pre_logits: bool = False) -> Tensor:
        """Features -> logits, or pooled features if ``pre_logits``."""
        head: Any = self.backbone.forward_head
        answer: Tensor = head(x, pre_logits=True) if pre_logits else head(x)
        return answer

    def forward(self, x: Tensor) -> Tensor:
        """Images -> logits of the network."""
        logits: Tensor = self.backbone(x)
        return logits

    def get_classifier(self) -> nn.Module:
        """Return the last linear layer of the network."""
        classifier: nn.Module = self.backbone.get_classifier()  # type: ignore[operator]
        return classifier

    def reset_classifier(self, num_classes: int, global_pool: str | None = None) -> None:
        """Replace the classifiers of the network and of all exits."""
        reset: Any = self.backbone.reset_classifier
        reset(num_classes) if global_pool is None else reset(num_classes, global_pool)
        for head in self.exits:
            assert isinstance(head, ExitHead)
            head.classifier.reset(num_classes)
            head.to(next(self.backbone.parameters()))
        self._model_args["source_args"] = get_model_args(self.backbone)

    @torch.jit.ignore
    def set_grad_checkpointing(self, enable: bool = True) -> None:
        """Trade time for memory in training: recompute the modules between the exits in the backward pass."""
        self.grad_checkpointing = enable
        self.backbone.set_grad_checkpointing(enable)  # type: ignore[operator]


def attach_exits(
    model: nn.Module,
    stages: str | int | Sequence[str | int] | None = None,
    head: str = "simple",
    *,
    freeze: bool = False,
    img_size: int | None = None,
) -> AttachedExits:
    """Give a network exits.

    Args:
        model: A network of timm (or of leannet) that has ``feature_info`` and is a chain of modules that answer with
            maps, channels first, as most convolutional networks are. It becomes the ``backbone`` of the result and is
            not copied.
        stages: After which of the stages in ``feature_info`` there is an exit: names of modules, or numbers as in
            ``out_indices``; one alone may be given as it is. By default those that lie nearest to a third and two
            thirds of the MACs: two, or one that is the nearest to both.
        head: What the exits are made of: "simple", "linear", "bottleneck" or "attention".
        freeze: Let the exits alone learn: no weight of the network wants a gradient, and it stays in evaluation mode.
        img_size: Side in pixels of the images; by default the network's own.

    Returns:
        A network with `forward_exits`, which trains, saves and loads as others do.

    Raises:
        UserError: The network has exits, no ``feature_info``, or not these stages, cannot take images of this size,
            or is no chain of modules that answer with maps, channels first.
    """
    facts: dict[str, Any] = getattr(model, "pretrained_cfg", None) or {}
    name = str(getattr(model, "_model_args", {}).get("source") or facts.get("architecture") or type(model).__name__)
    if has_exits(model):
        raise UserError(f"cannot attach exits to {name}", "it has exits", "Give a network without")
    info = getattr(model, "feature_info", None)
    known = [str(entry["module"]) for entry in getattr(info, "info", info) or ()]
    if not known or not facts or not hasattr(model, "forward_features"):
        why = "it has no feature_info, by which timm names the stages"
        raise UserError(f"cannot attach exits to {name}", why, OTHER_NETWORK)
    size = img_size or int(facts["input_size"][-1])
    if stages is None:
        chosen = _automatic(model, name, known, size)
    else:
        stages = [stages] if isinstance(stages, str | int) else stages
        chosen = [_stage(name, known, stage) for stage in stages]
        chosen = sorted(set(chosen), key=known.index)
    if not chosen:
        raise UserError(f"cannot attach exits to {name}", "no stage is named", f"Name some of {', '.join(known)}")
    network = AttachedExits(model, chosen, head, size, name)
    if freeze:
        model.requires_grad_(False)
        network.frozen = True
        network.train(network.training)
    return network


def _channels(network: nn.Module) -> dict[str, int]:
    """Return how many channels timm gives for each stage."""
    info: Any = network.feature_info
    entries = getattr(info, "info", info)
    return {str(entry["module"]): int(entry["num_chs"]) for entry in entries if "num_chs" in entry}


def _stage(name: str, known: list[str], stage: str | int) -> str:
    """Return the name of a stage; the last one is where the network itself answers."""
    early = known[:-1]
    named = str(stage)
    if re.fullmatch(r"-?[0-9]+", named) and -len(known) <= int(named) < len(known):
        named = known[int(named)]
    if named in early:
        return named
    numbered = ", ".join(f"{index}: {each}" for index, each in enumerate(early))
    why = "there the network itself answers" if named in known else "no such stage"
    raise UserError(f"no exit after {stage} of {name}", why, f"It has {numbered}")


def _automatic(model: nn.Module, name: str, known: list[str], img_size: int) -> list[str]:
    chain: list[Link] = find_chain(model, name, tuple(known), img_size)
    image = torch.zeros(1, int(getattr(model, "in_chans", 3)), img_size, img_size)
    macs = count_macs(model, image.to(next(model.parameters())))
    done, shares = 0.0, {}
    for link in chain:
        done += macs.by_module.get(link.name, 0)
        if link.name in known[:-1]:
            shares[link.name] = done / max(macs.total, 1)
    if not shares:
        raise UserError(f"cannot attach exits to {name}", "it has one stage only", "Choose another network")
    return sorted({min(shares, key=lambda stage: abs(shares[stage] - share)) for share in AUTO_SHARES}, key=known.index)


@register_model
def with_exits(
    pretrained: bool = False,
    source: str = "resnet18",
    source_args: dict[str, Any] | None = None,
    stages: Sequence[str] | None = None,
    exit_head: str = "simple",
    img_size: int | None = None,
    pretrained_cfg: dict[str, Any] | None = None,
    pretrained_cfg_overlay: dict[str, Any] | None = None,
    **kwargs: Any,
) -> AttachedExits:
    """Any network of timm with attached exits, as a model folder names it."""
    for runtime in ("cache_dir", "pretrained_model_args"):
        kwargs.pop(runtime, None)
    backbone = timm.create_model(source, pretrained=False, **{**(source_args or {}), **kwargs})
    network = attach_exits(backbone, stages, exit_head, img_size=img_size)
    if pretrained_cfg is not None:
        saved = pretrained_cfg if isinstance(pretrained_cfg, dict) else pretrained_cfg.to_dict()
        facts = {**saved, **(pretrained_cfg_overlay or {}), "architecture": "with_exits"}
        network.pretrained_cfg = network.default_cfg = facts
        if pretrained:
            load_pretrained(network, facts, num_classes=network.num_classes, in_chans=network.in_chans)
    return network
