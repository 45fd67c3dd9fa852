"""The policy of exits in a model folder, where predict, evaluate and export find it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from leannet.early_exit.policy import ExitPolicy
from leannet.models import read_model_config
from leannet_runtime.files import write_json

__all__ = ["CONFIG_KEY", "calibrated_on", "read_policy", "write_policy"]

CONFIG_KEY = "early_exit"
"""Under which the policy stands in ``config.json``; timm passes over what it does not know."""


def read_policy(folder: Path, num_exits: int) -> ExitPolicy | None:
    """Return the policy that `leannet calibrate` wrote; None if there is none.

    Args:
        folder: A model folder.
        num_exits: Of its network.

    Raises:
        UserError: config.json cannot be read, or its policy does not fit the network.
    """
    config = read_model_config(folder)
    if CONFIG_KEY not in config:
        return None
    policy = ExitPolicy.from_config(config[CONFIG_KEY])
    policy.check(num_exits)
    return policy


def write_policy(folder: Path, policy: ExitPolicy, record: dict[str, Any]) -> None:
    """Write a policy into ``config.json``, where an older one is replaced.

    Args:
        folder: A model folder.
        policy: What is written.
        record: What it came to, and on which images.

    Raises:
        UserError: The folder cannot be read or written.
    """
    config = read_model_config(folder)
    config[CONFIG_KEY] = {**policy.as_config(), "calibrated": record}
    write_json(folder / "config.json", config)


def calibrated_on(folder: Path) -> tuple[str, str] | None:
    """Return the fingerprint of the data and the part on which the policy in a model folder was chosen, if it says."""
    record = read_model_config(folder).get(CONFIG_KEY, {}).get("calibrated", {})
    if not {"fingerprint", "split"} <= set(record):
        return None
    return str(record["fingerprint"]), str(record["split"])
