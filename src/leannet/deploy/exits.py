"""Which policy of exits a file gets, and what its user is told about it."""

from __future__ import annotations

from leannet.early_exit import ExitPolicy, check_exits, read_policy
from leannet.models import has_exits
from leannet.training import SavedNetwork

__all__ = ["exported_policy"]


def exported_policy(network: SavedNetwork, last_exit_only: str | None = None) -> tuple[ExitPolicy | None, str | None]:
    """Return by which policy images leave the file of a network, and a note if they do not although there are exits.

    Args:
        network: What is exported.
        last_exit_only: What the file is, if it is of a kind that answers at the last exit whatever the policy.

    Raises:
        UserError: The policy in the folder does not fit the network.
    """
    if not has_exits(network.model):
        return None, None
    exits = check_exits(network.model).num_exits
    policy = read_policy(network.folder, exits)
    if policy is None:
        remedy = f"leannet calibrate {network.folder} gives it one"
        return None, f"no policy says when images leave, so the file answers at the last of {exits} exits; {remedy}"
    if last_exit_only is not None:
        return None, f"{last_exit_only} answers at the last of {exits} exits: the policy of the folder is not in it"
    return policy, None
