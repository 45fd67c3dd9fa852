"""What is to be timed."""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from typing import Any

import torch

from leannet.deploy.backends import DTYPES, Circumstances, check_backend
from leannet.measure.bench import MOST_ROUNDS, cpu_limits
from leannet.models import check_name
from leannet_runtime import UserError

__all__ = ["BenchRequest"]

ROUNDS = 100


@dataclass(frozen=True)
class BenchRequest:
    """Networks, and the settings in all combinations of which they are timed.

    Args:
        models: timm names, "torchvision/NAME" or model folders; one that is named twice is timed twice.
        reference: By which times are divided; the first of the models if not given. It is timed too.
        backends: Some of `leannet.deploy.backends.BACKENDS`.
        threads: Numbers of threads on the CPU; as many as can run at once if not given.
        batch_sizes: Images in a call.
        img_sizes: Sides of the images in pixels; each network's own if not given.
        num_classes: Number of classes; the network's own if not given.
        small_input: See `leannet.models.create_network`.
        rounds: Timed rounds for each setting, at most; 100 if not given, or as many as fit into the seconds.
        seconds: For all warming up and timing together. Making the networks is not counted.
        device: "auto" (a GPU if there is one), "cpu", "cuda", "cuda:N", or several GPUs with commas, "cuda:0,cuda:1",
            among which each batch is divided.
        dtype: A key of `leannet.deploy.backends.DTYPES`.
        channels_last: How weights and images of PyTorch lie in memory.
        cuda_graph: On a GPU, record the kernels once and start them together.
        seed: Of weights, images, order and bootstrap.
    """

    models: tuple[str, ...]
    reference: str | None = None
    backends: tuple[str, ...] = ("eager",)
    threads: tuple[int, ...] | None = None
    batch_sizes: tuple[int, ...] = (1,)
    img_sizes: tuple[int, ...] | None = None
    num_classes: int | None = None
    small_input: bool | None = None
    rounds: int | None = None
    seconds: float | None = None
    device: str = "auto"
    dtype: str = "float32"
    channels_last: bool = False
    cuda_graph: bool = False
    seed: int = 0

    def settled(self) -> BenchRequest:
        """Return the request with every default filled in that does not hang on a network.

        Raises:
            UserError: A name is unknown, a backend or device is not there, or settings do not go together.
        """
        if not self.models:
            raise UserError("nothing to time", "no network is named", "`leannet models` lists some")
        for name in dict.fromkeys((*self.models, *([self.reference] if self.reference else []))):
            check_name(name)
        if self.dtype not in DTYPES:
            why = "networks are not timed in it"
            raise UserError(f"cannot use --dtype {self.dtype}", why, f"Choose {' or '.join(DTYPES)}")
        reference = self.reference or self.models[0]
        models = self.models if reference in self.models else (reference, *self.models)
        names = [name.strip() for name in self.device.split(",")]
        device = ",".join(_device(name, alone=len(names) == 1) for name in names)
        if len(set(names)) < len(names):
            raise UserError(f"--device {self.device}", "it names a GPU twice", "Name each once")
        if unequal := [size for size in self.batch_sizes if size % len(names)]:
            why = f"a batch of {unequal[0]} cannot be divided evenly among {len(names)} GPUs"
            raise UserError(f"--device {self.device}", why, f"Pass --batch-sizes {len(names)} or a multiple")
        if self.cuda_graph and device == "cpu":
            raise UserError("cannot record a CUDA graph", "the device is the CPU", "Pass --device cuda")
        rounds = self.rounds or (ROUNDS if self.seconds is None else MOST_ROUNDS)
        request = replace(
            self, models=models, reference=reference, threads=self._threads(device), device=device, rounds=rounds
        )
        for backend in self.backends:
            check_backend(backend, request.circumstances(1))
        return request

    def circumstances(self, threads: int) -> Circumstances:
        """Return what a backend must know, for so many threads."""
        return Circumstances(self.device, threads, self.dtype, self.channels_last, self.cuda_graph)

    def labels(self) -> dict[str, str]:
        """Return what each network is called in tables, with the name it is made by: "sm_v2", "sm_v2 (2)"."""
        labels: dict[str, str] = {}
        for place, name in enumerate(self.models):
            number = self.models[: place + 1].count(name)
            labels[name if number == 1 else f"{name} ({number})"] = name
        return labels

    def arguments(self) -> dict[str, Any]:
        """Return everything for ``args.yaml``, in plain values."""
        plain = {key: list(value) if isinstance(value, tuple) else value for key, value in asdict(self).items()}
        return {"verb": "bench", **plain}

    def _threads(self, device: str) -> tuple[int, ...]:
        limits = cpu_limits()
        if self.threads is None or device != "cpu":
            return (limits.threads,)
        if max(self.threads) > limits.threads:
            remedy = f"Pass --threads {limits.threads} or fewer"
            raise UserError(f"cannot time {max(self.threads)} threads", limits.sentence(), remedy)
        return self.threads


def _device(name: str, alone: bool) -> str:
    kind, _, index = name.partition(":")
    if not alone and not (kind == "cuda" and index.isdecimal()):
        raise UserError(f"unknown device {name}", "of several each is a cuda:N", "Pass --device cuda:0,cuda:1")
    if name == "auto":
        return "cuda" if torch.cuda.is_available() else "cpu"
    if kind not in ("cpu", "cuda") or (":" in name and not (kind == "cuda" and index.isdecimal())):
        raise UserError(f"unknown device {name}", "it is not auto, cpu, cuda or cuda:N", "Pass --device auto")
    if kind == "cuda" and not torch.cuda.is_available():
        raise UserError(f"no device {name}", "PyTorch finds no GPU", "Pass --device cpu")
    if index and int(index) >= torch.cuda.device_count():
        last = torch.cuda.device_count() - 1
        raise UserError(f"no device {name}", f"the last GPU is cuda:{last}", f"Pass --device cuda:{last}")
    return name
