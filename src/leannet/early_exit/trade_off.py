"""Temperatures and thresholds from a validation part, and what each choice of them would cost and save."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from scipy.optimize import minimize_scalar
from torch import Tensor

from leannet.early_exit.answers import ExitAnswers
from leannet.early_exit.policy import ExitPolicy, sureness
from leannet_runtime import UserError

__all__ = ["TradeOff", "choose_by_budget", "choose_by_drop", "fit_temperatures", "right_answers", "trade_offs"]

MOST_COMBINATIONS = 20_000
"""Of thresholds that are tried; with more exits each gets fewer candidates."""

MOST_CANDIDATES = 60

RULE_OF_THREE = 3.0
"""Of N images of which none got worse, up to 3 / N of all images may (95 %)."""


@dataclass(frozen=True)
class TradeOff:
    """What one choice of thresholds comes to on the images that it was tried on."""

    thresholds: tuple[float, ...]
    correct: int
    images: int
    macs: float
    """Mean multiply-accumulates of an image."""

    shares: tuple[float, ...]
    """Share of the images that leave at each exit."""

    cost: float
    """What was to be saved: mean MACs, or mean milliseconds."""

    @property
    def top1(self) -> float:
        """Accuracy in percent."""
        return 100 * self.correct / self.images


def fit_temperatures(answers: ExitAnswers) -> tuple[float, ...]:
    """Return, for each exit, the temperature at which its probabilities fit best (least cross-entropy).

    Source: Guo et al. (2017), "On calibration of modern neural networks", section 4.2.
    """
    return tuple(_fit_temperature(answers, index) for index in range(answers.num_exits))


def _fit_temperature(answers: ExitAnswers, index: int) -> float:
    logits = answers.logits[:, index].double()

    def loss(log_temperature: float) -> float:
        return float(F.cross_entropy(logits / np.exp(log_temperature), answers.labels))

    found = minimize_scalar(loss, bounds=(np.log(0.05), np.log(20.0)), method="bounded")
    return float(np.exp(found.x))


def trade_offs(
    answers: ExitAnswers, policy: ExitPolicy, exit_cost: Sequence[float] | None = None
) -> tuple[list[TradeOff], TradeOff]:
    """Try thresholds.

    Args:
        answers: On a validation part.
        policy: Its rule, temperatures and ensemble; its thresholds are those that are tried, and not read.
        exit_cost: What an image costs that leaves at each exit (milliseconds, say); its MACs by default.

    Returns:
        The choices that no other beats in accuracy and cost, the cheapest first, and the full network, which no image
        leaves before its end, with infinite thresholds.
    """
    count = answers.num_exits
    macs = answers.macs.numpy()
    cost = macs if exit_cost is None else np.broadcast_to(np.asarray(exit_cost, dtype=float), macs.shape)
    temperatures = policy.temperatures or (1.0,) * count
    # As `Decision` does it, and in its precision: a threshold that is a value found here must decide alike there.
    sure = torch.stack(
        [
            sureness((answers.logits[:, index] / temperatures[index]).softmax(dim=1), policy.rule)
            for index in range(count - 1)
        ],
        dim=1,
    ).numpy()
    right = right_answers(answers, policy).numpy()
    found = [_try(thresholds, sure, right, macs, cost) for thresholds in itertools.product(*_candidates(sure))]
    return _front(found), _try((np.inf,) * (count - 1), sure, right, macs, cost)


def right_answers(answers: ExitAnswers, policy: ExitPolicy) -> Tensor:
    """Return whether each exit answers each image rightly, ``(N, exits)``; the last one with all others if so asked."""
    right = answers.logits.argmax(dim=2) == answers.labels[:, None]
    if policy.ensemble:
        scale = torch.tensor(policy.temperatures or (1.0,) * answers.num_exits)[:, None]
        mean = (answers.logits / scale).softmax(dim=2).mean(dim=1)
        right[:, -1] = mean.argmax(dim=1) == answers.labels
    return right


def _candidates(sure: NDArray[np.float32]) -> list[NDArray[np.float32]]:
    """Return thresholds for each exit: quantiles of how sure it is, from letting all leave to letting none leave."""
    count = min(MOST_CANDIDATES, int(MOST_COMBINATIONS ** (1 / sure.shape[1])))
    shares = np.linspace(0, 1, max(count - 1, 2))
    return [np.unique(np.append(np.quantile(column, shares), 1.0).astype(np.float32)) for column in sure.T]


def _try(
    thresholds: Sequence[float],
    sure: NDArray[np.float32],
    right: NDArray[np.bool_],
    macs: NDArray[np.float64],
    cost: NDArray[np.float64],
) -> TradeOff:
    leaves = np.column_stack([sure >= np.asarray(thresholds), np.ones(len(sure), dtype=bool)])
    exits = leaves.argmax(axis=1)
    rows = np.arange(len(sure))
    return TradeOff(
        thresholds=tuple(float(threshold) for threshold in thresholds),
        correct=int(right[rows, exits].sum()),
        images=len(sure),
        macs=float(macs[rows, exits].mean()),
        shares=tuple(np.bincount(exits, minlength=macs.shape[1]) / len(sure)),
        cost=float(cost[rows, exits].mean()),
    )


def _front(found: list[TradeOff]) -> list[TradeOff]:
    """Leave out what another choice beats: as cheap and better, or as good and cheaper."""
    front: list[TradeOff] = []
    for each in sorted(found, key=lambda trade: (trade.cost, -trade.correct)):
        if not front or each.correct > front[-1].correct:
            front.append(each)
    return front


def choose_by_drop(front: list[TradeOff], full: TradeOff, max_drop: float, known: bool = True) -> TradeOff:
    """Return the cheapest choice that is, on these images, at most some points less accurate than the full network.

    Args:
        front: From `trade_offs`.
        full: From the same.
        max_drop: Percentage points; with 0 it is right as often as the full network on these images, which no number
            of images proves of others.
        known: Insist on as many images as it takes to know of such a drop. With 0 there is no such number.

    Raises:
        UserError: The images are too few to know of such a drop: were none of them answered worse, a larger one could
            still not be excluded (rule of three).
    """
    if max_drop < 0:
        raise UserError(f"--max-drop {max_drop:g}", "it is a number of points from 0 on", "Pass 0.5, say")
    least = 100 * RULE_OF_THREE / full.images
    if known and max_drop and least > max_drop:
        raise UserError(
            f"--max-drop {max_drop:g} cannot be known",
            f"on {full.images:,} validation images no drop below {least:.2f} points can be told from none (95 %)",
            f"Give at least {math.ceil(100 * RULE_OF_THREE / max_drop):,} images, or --max-drop "
            f"{math.ceil(100 * least) / 100:g} or more",
        )
    good = [each for each in front if each.correct >= full.correct - max_drop / 100 * full.images]
    return min(good, key=lambda trade: trade.cost) if good else max(front, key=lambda trade: trade.correct)


def choose_by_budget(
    front: list[TradeOff], budget: float, option: str, unit: Literal["macs", "ms"] = "macs"
) -> TradeOff:
    """Return the most accurate choice whose mean cost stays within a budget.

    Args:
        front: From `trade_offs`.
        budget: In the unit of `TradeOff.cost`.
        option: What the message calls it, such as "--budget-macs 10M".
        unit: Of the budget, for the message.

    Raises:
        UserError: Even the cheapest choice costs more.
    """
    within = [each for each in front if each.cost <= budget]
    if not within:
        least = _least_budget(min(each.cost for each in front), unit)
        raise UserError(
            f"{option} cannot be reached",
            f"an image that leaves at the first exit costs {least} {'MACs' if unit == 'macs' else unit} already",
            f"Pass --budget-{unit} {least} or more, or put an exit earlier",
        )
    return max(within, key=lambda trade: (trade.correct, -trade.cost))


def _least_budget(cost: float, unit: Literal["macs", "ms"]) -> str:
    """Return the smallest budget that reaches a cost, as the option takes it: rounded up, so that it can be passed."""
    sizes = (("G", 1e9), ("M", 1e6), ("k", 1e3)) if unit == "macs" else ()
    letter, size = next(((letter, size) for letter, size in sizes if cost >= size), ("", 1.0))
    digits = 2 if letter else 3
    steps = math.ceil(cost / size * 10**digits)
    while float(f"{steps / 10**digits:.{digits}f}") * size < cost:  # a step may be lost in the division
        steps += 1
    return f"{steps / 10**digits:.{digits}f}".rstrip("0").rstrip(".") + letter
