"""Ways of training that benchmarks/training_throughput.py times."""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import timm
import torch
from timm.data import create_dataset, create_loader
from timm.optim import create_optimizer_v2
from torch import Tensor, nn

from clocks import Stopwatch
from leannet.data import TrainBatches, open_source
from leannet.training import Position, Recipe, Trainer, make_accelerator, prepare_data
from leannet.training.devices import keep_freed_memory

SEED = 0
WARM_UP_STEPS = 3  # enough for the workers of timm to be where they stay
PREPARED = 8  # batches that are kept in memory: more than the caches hold
Batch = tuple[Tensor, Tensor]


@dataclass(frozen=True)
class Setting:
    """What all ways have in common, of one network."""

    network: str
    folder: Path
    recipe: Recipe
    workers: int
    """Of timm's loader with the best flags."""

    @property
    def num_classes(self) -> int:
        """Number of classes."""
        return len(open_source(self.folder).class_names)

    def make_network(self) -> nn.Module:
        """Return the network, the same each time."""
        torch.manual_seed(SEED)
        model: nn.Module = timm.create_model(self.network, num_classes=self.num_classes)
        return model


class Way(Protocol):
    """A way of training."""

    def images_per_second(self, steps: int) -> float:
        """Run some steps; the wait for batches counts, a few steps before do not.

        The stream of batches is opened anew and closed behind: workers that go on loading while another way is timed
        would slow that one down, and find their own batches ready for nothing.
        """
        ...


class TimedBatches(TrainBatches):
    """Batches of training; how long they let the loop wait is noted."""

    def __init__(self, setting: Setting) -> None:
        data = prepare_data(open_source(setting.folder), setting.recipe)
        super().__init__(data.train, data.augmentation, setting.recipe.batch_size, seed=SEED)
        self.watch = Stopwatch()

    def epoch(self, epoch: int, first_batch: int = 0) -> Iterator[Batch]:
        """Yield the batches of an epoch."""
        stream = self.stream(epoch, first_batch)
        while True:
            self.watch.mark("other")
            batch = next(stream, None)
            self.watch.mark("data")
            if batch is None:
                return
            yield batch

    def stream(self, epoch: int, first_batch: int) -> Iterator[Batch]:
        """Make the batches of an epoch."""
        return super().epoch(epoch, first_batch)


class KeptBatches(TimedBatches):
    """The same few batches again and again, prepared once."""

    def __init__(self, setting: Setting) -> None:
        super().__init__(setting)
        self.kept = list(itertools.islice(super().stream(0, 0), PREPARED))

    def stream(self, epoch: int, first_batch: int) -> Iterator[Batch]:
        """Take batches out of memory, as long as those that they stand for."""
        for step in range(first_batch, len(self)):
            images, labels = self.kept[step % len(self.kept)]
            count = self.total_count(epoch, step)
            yield images[:count], labels[:count]


class _EnoughError(Exception):
    """Ends an epoch early: a training may be left after any update."""


class OurLoop:
    """The loop of `leannet train`, timed between its updates."""

    def __init__(self, setting: Setting, batches: TimedBatches) -> None:
        self.watch = batches.watch
        model, accelerator = setting.make_network(), make_accelerator("cpu")
        self.trainer = Trainer(model, batches, setting.recipe, setting.num_classes, accelerator)
        self.trainer.loss.register_forward_pre_hook(lambda *_: self.watch.mark("other"))
        self.trainer.loss.register_forward_hook(lambda *_: self.watch.mark("forward"))
        optimizer = self.trainer.optimizer.optimizer
        optimizer.register_step_pre_hook(lambda *_: self.watch.mark("backward"))
        optimizer.register_step_post_hook(lambda *_: self.watch.mark("optimizer"))

    def images_per_second(self, steps: int) -> float:
        """See `Way`."""
        done = images = 0
        start = 0.0

        def after_update(position: Position) -> None:
            nonlocal done, images, start
            done += 1
            self.watch.end_step(counts=done > WARM_UP_STEPS)
            if done == WARM_UP_STEPS:
                start = time.perf_counter()
            elif done > WARM_UP_STEPS:
                images += self.trainer.batches.total_count(position.epoch, position.updates - 1)
            if done == WARM_UP_STEPS + steps:
                raise _EnoughError

        try:
            while True:
                self.trainer.run_epoch(after_update)
                self.trainer.finish_epoch()
        except _EnoughError:
            return images / (time.perf_counter() - start)

    def milliseconds_of_a_step(self) -> dict[str, float]:
        """Return the medians of what each part of a step took."""
        return self.watch.medians()


class BareLoop:
    """Forward, loss, backward, AdamW and zero, as in the loop of timm's ``train.py``."""

    def __init__(
        self, setting: Setting, open_batches: Callable[[], Iterator[Batch]], *, channels_last: bool = True
    ) -> None:
        self.memory_format = torch.channels_last if channels_last else torch.contiguous_format
        self.model = setting.make_network().train().to(memory_format=self.memory_format)
        recipe = setting.recipe
        self.optimizer = create_optimizer_v2(
            self.model, opt=recipe.opt, lr=recipe.lr, weight_decay=recipe.weight_decay, momentum=recipe.momentum
        )
        self.loss = nn.CrossEntropyLoss(label_smoothing=recipe.smoothing)
        self.open_batches = open_batches

    def images_per_second(self, steps: int) -> float:
        """See `Way`."""
        count, start = 0, 0.0
        for number, (images, labels) in enumerate(itertools.islice(self.open_batches(), WARM_UP_STEPS + steps)):
            self.loss(self.model(images.contiguous(memory_format=self.memory_format)), labels).backward()
            self.optimizer.step()
            self.optimizer.zero_grad(set_to_none=True)
            if number + 1 == WARM_UP_STEPS:
                start = time.perf_counter()
            count += len(images) if number >= WARM_UP_STEPS else 0
        return count / (time.perf_counter() - start)


class TimmBatches:
    """Batches as timm's ``train.py`` makes them."""

    def __init__(self, setting: Setting) -> None:
        self.img_size, self.batch_size = setting.recipe.img_size, setting.recipe.batch_size
        self.folder, self.workers, self.scale = str(setting.folder), setting.workers, setting.recipe.scale_min

    def default(self) -> Iterator[Batch]:
        """Open a stream with the default flags."""
        return self.open(num_workers=4, scale=(0.08, 1.0), color_jitter=0.4, interpolation="random")

    def best(self) -> Iterator[Batch]:
        """Open a stream with flags that ask for no more than leannet does."""
        scale = (self.scale, 1.0)
        return self.open(num_workers=self.workers, scale=scale, color_jitter=0.0, interpolation="bilinear")

    def open(self, **flags: Any) -> Iterator[Batch]:
        """Go through the epochs one after the other, full batches only."""
        loader = create_loader(
            create_dataset("", root=self.folder, split="train", is_training=True),
            input_size=(3, self.img_size, self.img_size),
            batch_size=self.batch_size,
            is_training=True,
            device=torch.device("cpu"),
            **flags,
        )
        while True:
            yield from (batch for batch in loader if len(batch[1]) == self.batch_size)


def bare_step(setting: Setting) -> BareLoop:
    """Train on one batch in memory, in a process as Python gives it."""
    batch = next(TimedBatches(setting).epoch(0))
    return BareLoop(setting, lambda: itertools.repeat(batch))


def bare_step_with_memory_kept(setting: Setting) -> BareLoop:
    """Train on one batch in memory, in a process that keeps its memory as that of `leannet train` does."""
    if not keep_freed_memory():
        raise RuntimeError("this system has no way to keep freed memory: nothing would differ from the bare step")
    return bare_step(setting)


WAYS: dict[str, Callable[[Setting], Way]] = {
    "leannet": lambda setting: OurLoop(setting, TimedBatches(setting)),
    "leannet, batches in memory": lambda setting: OurLoop(setting, KeptBatches(setting)),
    "bare step": bare_step,
    "bare step, memory kept": bare_step_with_memory_kept,
    "timm, default flags": lambda setting: BareLoop(setting, TimmBatches(setting).default, channels_last=False),
    "timm, best flags": lambda setting: BareLoop(setting, TimmBatches(setting).best),
}


def make_way(name: str, setting: Setting) -> Way:
    """Prepare one of `WAYS`; a function that a new process can find."""
    return WAYS[name](setting)
