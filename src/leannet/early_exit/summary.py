"""What the exits of a network came to on labelled images, with a policy and without."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import torch
from torch import Tensor

from leannet.early_exit.answers import ExitAnswers
from leannet.early_exit.policy import ExitPolicy, apply_policy
from leannet.measure import Interval, wilson_interval

__all__ = ["ExitRow", "ExitSummary", "answers_of_policy", "summarise_exits"]


@dataclass(frozen=True)
class ExitRow:
    """One exit."""

    exit: int
    """From 1."""

    top1: Interval
    """If all images left here, in percent."""

    macs: float
    """Mean multiply-accumulates of an image to here, gates open as they were."""

    share: float | None
    """Percent of the images that leave here by the policy; None without one."""

    top1_of_leaving: Interval | None
    """Accuracy on those, in percent; None if there are none."""


@dataclass(frozen=True)
class ExitSummary:
    """All exits, and what the policy makes of them."""

    rows: tuple[ExitRow, ...]
    ensemble: Interval
    """Accuracy of the mean of all exits' probabilities, in percent."""

    policy: ExitPolicy | None
    mean_macs: float
    """Of an image, by the policy; to the end without one."""

    def as_dict(self) -> dict[str, Any]:
        """Return what stands in ``results.json``."""
        return {
            "policy": None if self.policy is None else self.policy.as_config(),
            "mean_macs": self.mean_macs,
            "ensemble": asdict(self.ensemble),
            "exits": [asdict(row) for row in self.rows],
        }


def answers_of_policy(answers: ExitAnswers, policy: ExitPolicy | None) -> tuple[Tensor, Tensor]:
    """Return the answer to each image as logits, ``(N, num_classes)``, and the exit it came from (from 0), ``(N,)``.

    Args:
        answers: Of all exits.
        policy: By which images leave; without one all of them are answered by the last exit.
    """
    if policy is None:
        return answers.logits[:, -1], torch.full_like(answers.labels, answers.num_exits - 1)
    probabilities, exits = apply_policy(answers.logits, policy)
    # Logarithms of probabilities are logits; the mean of several exits has no others.
    return probabilities.clamp_min(torch.finfo(probabilities.dtype).tiny).log(), exits


def summarise_exits(answers: ExitAnswers, policy: ExitPolicy | None) -> ExitSummary:
    """Count what each exit gets right and costs.

    Args:
        answers: Of all exits.
        policy: By which images leave, if there is one.
    """
    logits, exits = answers_of_policy(answers, policy)
    right = logits.argmax(dim=1) == answers.labels
    images = len(answers.labels)
    rows = []
    for index in range(answers.num_exits):
        alone = answers.logits[:, index].argmax(dim=1) == answers.labels
        here = exits == index
        leaving = int(here.sum())
        rows.append(
            ExitRow(
                exit=index + 1,
                top1=wilson_interval(int(alone.sum()), images),
                macs=float(answers.macs[:, index].mean()),
                share=None if policy is None else 100 * leaving / images,
                top1_of_leaving=wilson_interval(int(right[here].sum()), leaving) if policy and leaving else None,
            )
        )
    together = answers.logits.double().softmax(dim=2).mean(dim=1).argmax(dim=1) == answers.labels
    return ExitSummary(
        rows=tuple(rows),
        ensemble=wilson_interval(int(together.sum()), images),
        policy=policy,
        mean_macs=float(answers.macs.gather(1, exits[:, None]).mean()),
    )
