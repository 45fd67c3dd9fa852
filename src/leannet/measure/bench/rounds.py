"""Networks timed in turns: a machine that changes its speed changes it for all."""

from __future__ import annotations

import gc
import random
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import torch

from leannet.measure.bench.stopwatch import HostStopwatch, Stopwatch
from leannet.measure.bench.warm_up import WarmUp

__all__ = ["COPIES", "COPIES_BYTES", "LEAST_ROUNDS", "MOST_ROUNDS", "ROUNDS_RULE", "RoundTimes", "time_in_rounds"]

LEAST_ROUNDS = 6
"""So many are timed even where the seconds are up: fewer have no interval that holds the truth in 95 % of cases (of
two, in half of them), so that they decide nothing."""

MOST_ROUNDS = 2000
"""More narrow no interval that matters."""

COPIES = 6
"""Of each network on a CPU: the fewest whose extremes hold the median of any distribution in 95 % of cases."""

COPIES_BYTES = 4 * 2**30
"""What the copies of all networks may take together, with the activations that a runtime keeps for each; and no more
than half of the memory that is free."""

ROUNDS_RULE = (
    "Each round runs every network twice, in a new random order: once to bring its weights back into the caches, once "
    f"timed, until the answer has been read. On a CPU {COPIES} copies of each network take turns from round to round, "
    "for it matters where a network lies in memory; one if it is compiled, fewer if they would take more than "
    f"{COPIES_BYTES / 2**30:g} GiB or half of the free memory. " + WarmUp().sentence()
)

_WARM_UP_SHARE = 1 / 3  # of the seconds


@dataclass(frozen=True)
class RoundTimes:
    """Times of several networks; the numbers at one place of their lists come from one round."""

    seconds: Mapping[str, tuple[float, ...]]
    """One call in each round, by network."""

    warm_up_rounds: int

    stable: Mapping[str, bool]
    """Whether the network was warm when the timed rounds began (`WarmUp`)."""

    copies: int = 1
    """Of each network; they took turns from round to round."""

    @property
    def rounds(self) -> int:
        """Number of timed rounds."""
        return min((len(times) for times in self.seconds.values()), default=0)


def time_in_rounds(
    calls: Mapping[str, Callable[[], object] | Sequence[Callable[[], object]]],
    *,
    rounds: int = 100,
    seconds: float | None = None,
    warm_up: WarmUp | None = None,
    seed: int = 0,
    stopwatch: Stopwatch | None = None,
    clock: Callable[[], float] = time.perf_counter,
    on_round: Callable[[int, int], None] | None = None,
) -> RoundTimes:
    """Time calls in rounds (`ROUNDS_RULE`).

    Args:
        calls: What is timed, by name; each runs one inference on inputs that are ready, and reads the answer. Of
            several copies, as many of each, those with the same place share a round.
        rounds: How many rounds are timed.
        seconds: For all rounds together, if there is a limit. Warming up ends after a third of it, timing when it is
            up, but not before `LEAST_ROUNDS` (or `rounds`, if that is less).
        warm_up: When networks count as warm.
        seed: Of the order.
        stopwatch: How one call is timed; by the clock of the host if not given.
        clock: Seconds; another one is for tests.
        on_round: Told after each timed round how many are done and how many there are at most; (0, rounds) while
            warming up.

    Returns:
        The times by network, in the order given.

    Raises:
        ValueError: There are no calls or no rounds, or more copies of one than of another.
    """
    if not calls or rounds < 1:
        raise ValueError(f"nothing to time: {len(calls)} calls, {rounds} rounds")
    several = {name: (call,) if callable(call) else tuple(call) for name, call in calls.items()}
    copies = len(next(iter(several.values())))
    if {len(each) for each in several.values()} != {copies} or not copies:
        raise ValueError(f"not as many copies of each: { {name: len(each) for name, each in several.items()} }")
    rule = warm_up or WarmUp()
    watch = stopwatch or HostStopwatch(clock)
    shuffle = random.Random(seed).shuffle
    order = list(calls)
    began = clock()

    def spent(share: float) -> bool:
        return seconds is not None and clock() - began >= share * seconds

    def tell(done: int) -> None:
        if on_round is not None:
            on_round(done, rounds)

    warming: dict[str, list[float]] = {name: [] for name in calls}
    stable = dict.fromkeys(calls, False)
    warm_up_rounds = 0
    timed: dict[str, list[float]] = {name: [] for name in calls}
    with torch.inference_mode(), _without_garbage_collection():
        while not all(stable.values()) and warm_up_rounds < rule.most and not spent(_WARM_UP_SHARE):
            shuffle(order)
            for name in order:
                warming[name].append(watch(several[name][warm_up_rounds % copies]))
            stable = {name: rule.settled(times) for name, times in warming.items()}
            warm_up_rounds += 1
            tell(0)
        for number in range(1, rounds + 1):
            shuffle(order)
            for name in order:
                call = several[name][(number - 1) % copies]
                call()
                timed[name].append(watch(call))
            tell(number)
            if number >= LEAST_ROUNDS and spent(1):
                break
    return RoundTimes({name: tuple(times) for name, times in timed.items()}, warm_up_rounds, stable, copies)


@contextmanager
def _without_garbage_collection() -> Iterator[None]:
    """Keep Python's collector from running inside whichever call it happens to."""
    was_enabled = gc.isenabled()
    gc.collect()
    gc.disable()
    try:
        yield
    finally:
        if was_enabled:
            gc.enable()
