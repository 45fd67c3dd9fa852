"""The records of a bench: what ``results.json`` holds."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import Any

from leannet.measure import MACS_RULE
from leannet.measure.bench import (
    LEAST_ROUNDS,
    ROUNDS_RULE,
    SCALING_RULE,
    CpuLimits,
    Load,
    RoundTimes,
    Scaling,
    Timing,
)

__all__ = ["MEMORY_RULE", "RATIO_RULE", "BenchResults", "BenchTable", "Failure", "NetworkFacts", "Setting"]

RATIO_RULE = (
    "The ratio is the median over rounds of time / time of the reference in the same round; it is called faster or "
    "slower only if its 95 % interval (bootstrap; of fewer than 20 rounds order statistics; at least as wide as that "
    f"between the medians of the copies) excludes 1, and never from fewer than {LEAST_ROUNDS} rounds."
)

MEMORY_RULE = (
    "Memory is that of the weights with the activations alive at once in PyTorch, for one batch and one copy; other "
    "backends may take less or more."
)


@dataclass(frozen=True)
class Setting:
    """The circumstances that all networks of one table share."""

    backend: str
    device: str
    threads: int
    batch_size: int

    img_size: int | None
    """Side of the images in pixels; None if each network has its own."""

    dtype: str
    channels_last: bool
    cuda_graph: bool

    def title(self) -> str:
        """Say it in words."""
        threads = f"{self.threads} thread{'s' if self.threads > 1 else ''}"
        place = f"CPU, {threads}" if self.device == "cpu" else self.device
        more = [
            f"batch {self.batch_size}",
            self.dtype,
            *([f"{self.img_size} px"] if self.img_size else []),
            *(["channels last"] if self.channels_last else []),
            *(["CUDA graph"] if self.cuda_graph else []),
        ]
        return f"{self.backend} on {place}, {', '.join(more)}"


@dataclass(frozen=True)
class NetworkFacts:
    """What a network is, whatever runs it."""

    network: str
    """What tables call it."""

    img_size: int
    num_classes: int
    parameters: int
    macs: int
    uncounted: tuple[str, ...]


@dataclass(frozen=True)
class Failure:
    """A network that a backend could not run."""

    network: str
    backend: str
    why: str


@dataclass(frozen=True)
class BenchTable:
    """The networks in one setting."""

    setting: Setting
    reference: str | None
    """None if it could not be run."""

    facts: tuple[NetworkFacts, ...]
    """Of the networks that were timed, in the order of the timings."""

    timings: tuple[Timing, ...]
    memory_bytes: tuple[int, ...]
    scaling: Scaling | None
    times: RoundTimes | None
    """None if no network could be run."""

    load: Load
    process_peak_bytes: int | None
    failures: tuple[Failure, ...]

    def as_dict(self) -> dict[str, Any]:
        """Return plain values for JSON."""
        rows = []
        for facts, timing, memory in zip(self.facts, self.timings, self.memory_bytes, strict=True):
            row = {**asdict(facts), **asdict(timing), "memory_bytes": memory}
            if timing.ratio is not None:
                row["ratio"] = {**asdict(timing.ratio.interval), "word": timing.ratio.word}
            rows.append(row)
        scaling = None if self.scaling is None else {**asdict(self.scaling), "word": self.scaling.word}
        return {
            **asdict(self.setting),
            "reference": self.reference,
            "rounds": self.times.rounds if self.times else 0,
            "copies": self.times.copies if self.times else 0,
            "warm_up_rounds": self.times.warm_up_rounds if self.times else 0,
            "load": asdict(self.load),
            "process_peak_bytes": self.process_peak_bytes,
            "networks": rows,
            "scaling": scaling,
            "failures": [asdict(failure) for failure in self.failures],
        }


@dataclass
class BenchResults:
    """All tables so far."""

    cpu: CpuLimits
    reference: str
    tables: list[BenchTable] = field(default_factory=list)
    complete: bool = False

    @property
    def failures(self) -> list[Failure]:
        """Each network that a backend could not run, once."""
        return list(dict.fromkeys(failure for table in self.tables for failure in table.failures))

    def as_dict(self) -> dict[str, Any]:
        """Return the content of ``results.json``."""
        return {
            "complete": self.complete,
            "reference": self.reference,
            "cpu": {**asdict(self.cpu), "threads": self.cpu.threads},
            "method": {
                "rounds": ROUNDS_RULE,
                "ratio": RATIO_RULE,
                "macs": MACS_RULE,
                "scaling": SCALING_RULE,
                "memory": MEMORY_RULE,
            },
            "tables": [table.as_dict() for table in self.tables],
        }
