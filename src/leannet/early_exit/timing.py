"""How long an image takes to each exit, on this machine."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from torch import Tensor, nn

from leannet.early_exit.staged import check_exits
from leannet.measure import Latency, measure_latency

__all__ = ["measure_exit_latency"]


def measure_exit_latency(
    network: nn.Module,
    images: Tensor,
    *,
    rounds: int = 30,
    on_round: Callable[[int, int], None] | None = None,
) -> tuple[Latency, ...]:
    """Time a batch that leaves at each exit, in turns.

    Args:
        network: With exits; it is put into evaluation mode.
        images: Normalised, ``(N, C, H, W)``; of one image it is the time of an image.
        rounds: Number of timed rounds.
        on_round: Told how many rounds are done and how many there are.

    Returns:
        For each exit the latency of the way there, with the heads and decisions that it passes.

    Raises:
        UserError: The network has no exits.
    """
    exits = check_exits(network)
    network.eval()

    def leave_at(last: int) -> None:
        x = images
        for index in range(last + 1):
            x = exits.run_segment(index, x)
            # What a policy does: look, and fetch the answer to the question whether somebody stays.
            bool((exits.exit_logits(index, x).softmax(dim=1).amax(dim=1) < 2).any())

    calls = {str(index): partial(leave_at, index) for index in range(exits.num_exits)}
    measured = measure_latency(calls, rounds=rounds, on_round=on_round)
    return tuple(measured[name] for name in calls)
