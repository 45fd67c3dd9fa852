"""From a network's answers on a validation part to a policy, and to what it is expected to cost and to save."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any, Literal

import torch
from torch import Tensor

from leannet.early_exit.answers import ExitAnswers
from leannet.early_exit.policy import ExitPolicy, apply_policy
from leannet.early_exit.trade_off import (
    TradeOff,
    choose_by_budget,
    choose_by_drop,
    fit_temperatures,
    right_answers,
    trade_offs,
)
from leannet.measure import Difference, Interval, measure_difference, wilson_interval
from leannet_runtime import UserError

__all__ = ["Calibration", "Goal", "calibrate", "check_rule"]

FOLDS = 5


@dataclass(frozen=True)
class Goal:
    """What thresholds are chosen for; one of the three.

    Args:
        max_drop: As cheap as can be, at most so many percentage points below the full network.
        budget_macs: As accurate as can be, for so many MACs in the mean.
        budget_ms: As accurate as can be, for so many milliseconds in the mean, one image at a time.

    Raises:
        UserError: It is none of them, or more than one, or not a positive number (``max_drop`` may be 0).
    """

    max_drop: float | None = None
    budget_macs: float | None = None
    budget_ms: float | None = None

    def __post_init__(self) -> None:
        given = {f"--{name.replace('_', '-')}": value for name, value in asdict(self).items() if value is not None}
        if len(given) != 1:
            why = "there is one goal" if given else "no goal is given"
            raise UserError(
                " and ".join(given) or "calibrate", why, "Pass one of --max-drop, --budget-macs, --budget-ms"
            )
        for option, value in given.items():
            if not (value > 0 or (option == "--max-drop" and value == 0)):
                drop = option == "--max-drop"
                why = "it is a number of points, 0 or more" if drop else "it is a positive number"
                raise UserError(f"{option} {value:g}", why, "Pass another one")


@dataclass(frozen=True)
class Calibration:
    """A policy, and what it came to on the images that it was chosen on."""

    goal: Goal
    policy: ExitPolicy
    chosen: TradeOff
    full: TradeOff
    """The network that no image leaves before its end."""

    front: tuple[TradeOff, ...]
    """The choices that no other beats."""

    exits: tuple[Interval, ...]
    """Accuracy of each exit, if all images left there, in percent."""

    exit_macs: tuple[float, ...]
    """Mean MACs up to each exit."""

    exit_ms: tuple[float, ...]
    """Milliseconds of one image to each exit."""

    difference: Difference
    """Accuracy of the policy less that of the full network, on the images that it was chosen on: too good a figure."""

    fresh_difference: Difference | None
    """The same on images that had no part in the choice: each fifth judged by what the other four fifths chose."""

    def milliseconds(self, trade: TradeOff) -> float:
        """Return the mean milliseconds of an image, one at a time."""
        return sum(share * ms for share, ms in zip(trade.shares, self.exit_ms, strict=True))

    def warning(self) -> str | None:
        """Return what speaks against the promise of ``max_drop``; None if nothing does, or if nothing was promised.

        It is not kept where the images that had no part in the choice were answered worse than that. That nothing at
        all is lost no number of images can show, so a promise of 0 is never without a warning.
        """
        drop = self.goal.max_drop
        if drop is None:
            return None
        fresh = None if self.fresh_difference is None else self.fresh_difference.points
        broken = fresh is not None and fresh.value < -drop
        if drop and not broken:
            return None
        said = f"--max-drop {drop:g} is {'not kept' if broken else 'a promise that no number of images can prove'}"
        if fresh is not None:
            said += (
                f"; on images that had no part in the choice it comes to {fresh.value:+.2f} points "
                f"(95 % interval {fresh.low:+.2f} to {fresh.high:+.2f})"
            )
        more = "Calibrate with more validation images"
        remedy = more if drop else "Promise a small drop, which enough images can show"
        return f"{said}. {remedy}."

    def record(self) -> dict[str, Any]:
        """Return what stands in ``config.json`` and ``results.json``."""
        return {
            "images": self.full.images,
            "top1": asdict(wilson_interval(self.chosen.correct, self.chosen.images)),
            "full_top1": asdict(wilson_interval(self.full.correct, self.full.images)),
            "difference_points": asdict(self.difference.points),
            "fresh_difference_points": asdict(self.fresh_difference.points) if self.fresh_difference else None,
            "warning": self.warning(),
            "caveat": "chosen and measured on the same images, but fresh_difference_points (cross-validation, 5 folds)",
            "mean_macs": self.chosen.macs,
            "full_macs": self.full.macs,
            "mean_ms": self.milliseconds(self.chosen),
            "full_ms": self.milliseconds(self.full),
            "shares": list(self.chosen.shares),
            "exits_top1": [asdict(exit) for exit in self.exits],
            "exit_macs": list(self.exit_macs),
            "exit_ms": list(self.exit_ms),
        }


def calibrate(
    answers: ExitAnswers,
    exit_ms: Sequence[float],
    goal: Goal,
    *,
    rule: str = "confidence",
    ensemble: bool = False,
    budget_text: str = "",
) -> Calibration:
    """Choose a temperature for each exit, and thresholds for a goal.

    Args:
        answers: On the validation part.
        exit_ms: From `measure_exit_latency`: milliseconds to each exit.
        goal: What the thresholds are chosen for.
        rule: "confidence", "entropy" or "margin".
        ensemble: Whether images that reach the end are answered by all exits together.
        budget_text: How the user wrote the budget, for messages.

    Raises:
        UserError: The goal cannot be reached, or the rule has no thresholds.
    """
    check_rule(rule)
    policy, front, full, chosen = _choose(answers, exit_ms, goal, rule, ensemble, budget_text)
    return Calibration(
        goal=goal,
        policy=policy,
        chosen=chosen,
        full=full,
        front=tuple(front),
        exits=tuple(wilson_interval(int(right.sum()), len(right)) for right in right_answers(answers, ExitPolicy()).T),
        exit_macs=tuple(answers.macs.mean(dim=0).tolist()),
        exit_ms=tuple(exit_ms),
        difference=measure_difference(right_answers(answers, policy)[:, -1], _answered(answers, policy)),
        fresh_difference=_fresh_difference(answers, exit_ms, goal, rule, ensemble),
    )


def check_rule(rule: str) -> None:
    """Refuse a rule that has no thresholds, before any image is read.

    Raises:
        UserError: The rule is not known, or is "patience".
    """
    ExitPolicy(rule=rule)
    if rule == "patience":
        raise UserError("--rule patience", "it has no thresholds to calibrate", "Pass confidence, entropy or margin")


def _choose(
    answers: ExitAnswers,
    exit_ms: Sequence[float],
    goal: Goal,
    rule: str,
    ensemble: bool,
    budget_text: str,
    known: bool = True,
) -> tuple[ExitPolicy, list[TradeOff], TradeOff, TradeOff]:
    blank = ExitPolicy(rule=rule, temperatures=fit_temperatures(answers), ensemble=ensemble)
    front, full = trade_offs(answers, blank, exit_ms if goal.budget_ms is not None else None)
    if goal.max_drop is not None:
        chosen = choose_by_drop(front, full, goal.max_drop, known)
    else:
        unit: Literal["macs", "ms"] = "ms" if goal.budget_macs is None else "macs"
        budget = goal.budget_ms if goal.budget_macs is None else goal.budget_macs
        assert budget is not None
        chosen = choose_by_budget(front, budget, budget_text or f"--budget-{unit} {budget:g}", unit)
    return replace(blank, thresholds=chosen.thresholds), front, full, chosen


def _fresh_difference(
    answers: ExitAnswers, exit_ms: Sequence[float], goal: Goal, rule: str, ensemble: bool
) -> Difference | None:
    """Judge each fifth of the images by what the other four fifths chose (cross-validation).

    None if four fifths do not reach the goal, or if there is one image only.
    """
    images = len(answers.labels)
    if images < 2:
        return None
    fold = torch.randperm(images, generator=torch.Generator().manual_seed(0)) % FOLDS
    whole, answered = torch.zeros(images, dtype=torch.bool), torch.zeros(images, dtype=torch.bool)
    for number in range(min(FOLDS, images)):
        judged = fold == number
        try:
            policy = _choose(_part(answers, ~judged), exit_ms, goal, rule, ensemble, "", known=False)[0]
        except UserError:
            return None
        others = _part(answers, judged)
        whole[judged], answered[judged] = right_answers(others, policy)[:, -1], _answered(others, policy)
    return measure_difference(whole, answered)


def _part(answers: ExitAnswers, rows: Tensor) -> ExitAnswers:
    return ExitAnswers(answers.logits[rows], answers.labels[rows], answers.macs[rows])


def _answered(answers: ExitAnswers, policy: ExitPolicy) -> Tensor:
    """Return which images the policy answers rightly."""
    probabilities, _ = apply_policy(answers.logits, policy)
    return probabilities.argmax(dim=1) == answers.labels
