"""When an image may leave a network: the rule, its thresholds, and who answers for those that stay to the end."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

import torch
from torch import Tensor

from leannet_runtime import UserError

__all__ = ["RULES", "Decision", "ExitPolicy", "apply_policy", "sureness"]

RULES = ("confidence", "entropy", "margin", "patience")
"""How sure an exit is:

- confidence: the largest probability (EMGNet, section 3.1; MSDNet);
- entropy: 1 less the entropy of the probabilities over its largest value, ``log(num_classes)`` (BranchyNet);
- margin: the largest probability less the second largest;
- patience: whether the last exits agree on the label (PABEE), however sure they are.
"""


def sureness(probabilities: Tensor, rule: str) -> Tensor:
    """Return how sure an exit is of each image, from 0 to 1.

    Args:
        probabilities: Shape ``(N, num_classes)``.
        rule: "confidence", "entropy" or "margin".

    Returns:
        Shape ``(N,)``.
    """
    if rule == "confidence":
        return probabilities.amax(dim=1)
    if rule == "margin":
        first, second = probabilities.topk(2, dim=1).values.unbind(dim=1)
        return first - second
    entropy = torch.special.entr(probabilities).sum(dim=1)
    return (1 - entropy / math.log(probabilities.shape[1])).clamp(0, 1)


@dataclass(frozen=True)
class ExitPolicy:
    """The rule by which images leave.

    Args:
        thresholds: For each exit but the last, how sure it must be (0 to 1): an image leaves at the first exit whose
            sureness reaches its threshold. For "patience" there are none.
        rule: A name in `RULES`.
        temperatures: For each exit, what its logits are divided by before anything else; 1 by default.
        patience: For "patience": how many exits in a row must agree, at least 2.
        ensemble: Images that reach the last exit are answered by the mean of the probabilities of all exits, as the
            last point of EMGNet's figure 3 is.

    Raises:
        UserError: A value is none of these.
    """

    thresholds: tuple[float, ...] = ()
    rule: str = "confidence"
    temperatures: tuple[float, ...] = ()
    patience: int = 2
    ensemble: bool = False

    def __post_init__(self) -> None:
        object.__setattr__(self, "thresholds", _numbers("thresholds", self.thresholds))
        object.__setattr__(self, "temperatures", _numbers("temperatures", self.temperatures))
        if self.rule not in RULES:
            raise UserError(f"unknown exit rule {self.rule}", f"there are {', '.join(RULES)}", "Name one of them")
        for threshold in self.thresholds:
            if not 0 <= threshold <= 1:
                why = "an exit's sureness lies between 0 and 1"
                raise UserError(f"threshold {threshold:g}", why, "Give thresholds from 0 to 1")
        if self.rule == "patience" and (self.thresholds or self.patience < 2):
            why = "it counts exits that agree: at least 2, and it has no thresholds"
            raise UserError(f"patience {self.patience}", why, "Give a patience of 2 or more, and no thresholds")
        if not all(0 < temperature < math.inf for temperature in self.temperatures):
            raise UserError("temperatures", "they are positive numbers", "Give 1 for an exit that is not scaled")

    def check(self, num_exits: int) -> None:
        """Make sure that the policy fits a network.

        Args:
            num_exits: Of the network, the last one included.

        Raises:
            UserError: It has another number of thresholds or temperatures than the network has exits, or waits for
                more exits to agree than there are before the last.
        """
        if self.rule == "patience" and self.patience >= num_exits:
            early = num_exits - 1
            why = (
                f"the network has {early} {'exit' if early == 1 else 'exits'} before the last, so no image could leave"
            )
            remedy = f"Give a patience of at most {early}" if early > 1 else "Choose another rule"
            raise UserError(f"patience {self.patience}", why, remedy)
        wanted = 0 if self.rule == "patience" else num_exits - 1
        if len(self.thresholds) != wanted:
            why = f"a network of {num_exits} exits takes {wanted} thresholds by {self.rule}: the last exit answers all"
            raise UserError(f"{len(self.thresholds)} thresholds", why, f"Give {wanted}")
        if len(self.temperatures) not in (0, num_exits):
            why = f"the network has {num_exits} exits"
            raise UserError(f"{len(self.temperatures)} temperatures", why, f"Give {num_exits}, or none")

    def as_config(self) -> dict[str, Any]:
        """Return the fields as they stand in the ``config.json`` of a model folder."""
        return {name: list(value) if isinstance(value, tuple) else value for name, value in asdict(self).items()}

    @staticmethod
    def from_config(config: Mapping[str, Any]) -> ExitPolicy:
        """Read what `as_config` returned; further keys are passed over.

        Raises:
            UserError: A field is missing or is nothing that a policy takes.
        """
        try:
            return ExitPolicy(
                thresholds=tuple(float(value) for value in config["thresholds"]),
                rule=str(config["rule"]),
                temperatures=tuple(float(value) for value in config["temperatures"]),
                patience=int(config["patience"]),
                ensemble=bool(config["ensemble"]),
            )
        except (KeyError, OverflowError, TypeError, ValueError) as error:
            why = f"not the policy of exits that calibrate writes ({error!r})"
            raise UserError("early_exit in config.json", why, "Run leannet calibrate again") from error


def _numbers(name: str, values: Any) -> tuple[float, ...]:
    """Return a sequence of numbers as a tuple; a list would not equal the same policy read from a file."""
    try:
        if isinstance(values, str):
            raise TypeError  # its digits are no numbers
        return tuple(float(value) for value in values)
    except (TypeError, ValueError) as error:
        raise UserError(f"{name} {values!r}", "they are a sequence of numbers", "Give (0.9, 0.8), say") from error


@dataclass
class Decision:
    """What is known of images on their way through the exits; `step` is called once an exit.

    Args:
        policy: By which they leave.
        num_exits: Of the network.
    """

    policy: ExitPolicy
    num_exits: int
    exit: int = 0
    """The exit that comes next, from 0."""

    total: Tensor | None = None
    """Sum of the probabilities so far, if the policy asks for the ensemble."""

    labels: Tensor | None = field(default=None)
    """Answer of the exit before."""

    streak: Tensor | None = None
    """How many exits in a row gave that answer."""

    def step(self, logits: Tensor) -> tuple[Tensor, Tensor]:
        """Look at the logits of the next exit.

        Args:
            logits: Of the images that are left, ``(N, num_classes)``.

        Returns:
            The probabilities that answer those who leave here, ``(N, num_classes)``, and who does, ``(N,)``.
        """
        policy, last = self.policy, self.exit + 1 == self.num_exits
        temperature = policy.temperatures[self.exit] if policy.temperatures else 1.0
        probabilities = (logits / temperature).softmax(dim=1)
        answers = probabilities
        if policy.ensemble:
            self.total = probabilities if self.total is None else self.total + probabilities
            if last:
                answers = self.total / self.num_exits
        if last:
            leave = torch.ones_like(probabilities[:, 0], dtype=torch.bool)  # len() would be a constant when exported
        elif policy.rule == "patience":
            labels = logits.argmax(dim=1)
            if self.streak is None or self.labels is None:
                self.streak = torch.ones_like(labels)
            else:
                self.streak = torch.where(labels == self.labels, self.streak + 1, torch.ones_like(labels))
            self.labels = labels
            leave = self.streak >= policy.patience
        else:
            leave = sureness(probabilities, policy.rule) >= policy.thresholds[self.exit]
        self.exit += 1
        return answers, leave

    def keep(self, stay: Tensor) -> None:
        """Forget the images that have left.

        Args:
            stay: Indices of those that have not.
        """
        for name in ("total", "labels", "streak"):
            kept = getattr(self, name)
            if kept is not None:
                setattr(self, name, kept[stay])


def apply_policy(logits: Tensor, policy: ExitPolicy) -> tuple[Tensor, Tensor]:
    """Apply a policy to the answers of all exits, afterwards.

    Args:
        logits: Shape ``(N, exits, num_classes)``.
        policy: By which images leave.

    Returns:
        Probabilities of each image's answer, ``(N, num_classes)``, and the exit it came from, from 0, int64 ``(N,)``.

    Raises:
        UserError: The policy does not fit the number of exits.
    """
    policy.check(logits.shape[1])
    decision = Decision(policy, logits.shape[1])
    probabilities = torch.empty_like(logits[:, 0])
    exits = torch.full((len(logits),), -1, dtype=torch.int64, device=logits.device)
    for index in range(logits.shape[1]):
        answers, leave = decision.step(logits[:, index])
        here = leave & (exits < 0)
        probabilities[here] = answers[here]
        exits[here] = index
    return probabilities, exits
