"""How a network did on a part of the images, each of its exits by itself."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from typing import Any

import torch
import torch.nn.functional as F
from accelerate import Accelerator
from accelerate.utils import gather_object
from torch import Tensor, nn

from leannet.data import EvalBatches
from leannet.measure import Predictions, wilson_interval
from leannet.models import ExitLogits, GateMeter, count_exit_macs, has_exits
from leannet.training.evaluation import evaluate

__all__ = ["Judgement", "chosen_by", "describe_exits", "judge", "judge_network"]


@dataclass(frozen=True)
class Judgement:
    """How a network did on a part: numbers of images, and what follows from them."""

    part: str
    correct: int
    total: int
    loss: float
    """Mean cross-entropy."""

    answers: Predictions
    """To each image, of the last exit."""

    exits: dict[str, int] = field(default_factory=dict)
    """Correct answers of each exit, "exit1" and so on, and of the mean of their probabilities, "ensemble"."""

    gates: dict[str, float] = field(default_factory=dict)
    """Share of open gates, by layer."""

    @property
    def top1(self) -> float:
        """Accuracy in percent."""
        return 100 * self.correct / self.total

    @property
    def score(self) -> int:
        """By which the best epoch is chosen: the correct answers, of a network with exits those of all exits."""
        return sum(right for name, right in self.exits.items() if name != "ensemble") if self.exits else self.correct

    def columns(self) -> dict[str, float]:
        """Return what stands in ``results.csv`` beside the columns of every network."""
        columns = {f"val_top1_{name}": 100 * correct / self.total for name, correct in self.exits.items()}
        if self.gates:
            columns["gates_open"] = sum(self.gates.values()) / len(self.gates)
        return columns

    def record(self) -> dict[str, Any]:
        """Return what stands in ``results.json``."""
        record: dict[str, Any] = {"part": self.part, "correct": self.correct, "total": self.total, "loss": self.loss}
        record["top1"] = asdict(wilson_interval(self.correct, self.total))
        if self.exits:
            record["exits"] = {name: asdict(wilson_interval(right, self.total)) for name, right in self.exits.items()}
        if self.gates:
            record["gates_open"] = self.gates
        return record


def chosen_by(validation: Judgement | None) -> str:
    """Say how the best epoch was chosen."""
    if validation is None:
        return "nothing: the last epoch"
    return f"{'mean accuracy of the exits' if validation.exits else 'accuracy'} on the validation part"


def judge(part: str, logits: Tensor, labels: Tensor, images: list[str]) -> Judgement:
    """Judge answers.

    Args:
        part: Which part of the data.
        logits: Shape ``(N, num_classes)``, or of all exits ``(N, exits, num_classes)``.
        labels: int64 of shape ``(N,)``.
        images: What they are called.
    """
    exits = {}
    if logits.ndim == 3:
        each = {f"exit{index + 1}": logits[:, index] for index in range(logits.shape[1])}
        each["ensemble"] = logits.double().softmax(dim=2).mean(dim=1)
        exits = {name: _count(answer, labels) for name, answer in each.items()}
        logits = logits[:, -1]
    loss = float(F.cross_entropy(logits.to(torch.float64), labels))
    answers = Predictions.from_logits(logits, labels, images)
    return Judgement(part, _count(logits, labels), len(labels), loss, answers, exits)


def _count(answers: Tensor, labels: Tensor) -> int:
    return int((answers.argmax(dim=1) == labels).sum())


def judge_network(
    network: nn.Module,
    batches: EvalBatches,
    part: str,
    accelerator: Accelerator,
    on_batch: Callable[[int], None] | None = None,
) -> Judgement:
    """Judge a network by its answers to the images of all processes.

    Args:
        network: With or without exits.
        batches: The images of this process.
        part: Their name.
        accelerator: As for `leannet.training.evaluate`.
        on_batch: Told how many images this process has done.
    """
    model = ExitLogits(network) if has_exits(network) else network
    with GateMeter(network) as meter:
        logits = evaluate(model, batches, accelerator.device, accelerator=accelerator, on_batch=on_batch)
    judgement = judge(part, logits, batches.labels, batches.pixels.split.identifiers())
    counts = [meter.counts()]
    if accelerator.num_processes > 1:
        counts = gather_object(counts)
    for layer in meter.layers:
        opened, decided = (sum(values) for values in zip(*(count[layer] for count in counts), strict=True))
        judgement.gates[layer] = opened / max(decided, 1)
    return judgement


def describe_exits(network: nn.Module, img_size: int, judgements: list[Judgement]) -> dict[str, Any]:
    """Return what the exits of a network cost, for ``results.json``; nothing of a network without exits.

    Args:
        network: On the CPU.
        img_size: Side of the images in pixels.
        judgements: Of the parts that were judged; the last one says how far the gates were open.
    """
    if not has_exits(network):
        return {}
    macs = count_exit_macs(network, img_size)
    exits: dict[str, Any] = {"closed": macs.closed, "open": macs.open}
    if judgements and judgements[-1].gates:
        by_part = {judgement.part: macs.mean(judgement.gates) for judgement in judgements}
        exits |= {"by_part": by_part, "measured": by_part[judgements[-1].part], "measured_on": judgements[-1].part}
    return {"exit_macs": exits}
