"""Shares work among the lanes of a pack: each batch is loaded and augmented once, and seen by the teacher once."""

from __future__ import annotations

import copy
import time
from collections.abc import Callable, Iterator, Mapping
from itertools import count
from typing import Any

from torch import Tensor, nn
from torch.utils.data import DataLoader

from kdbench import devices
from kdbench.distill.turns import START, Turns
from kdbench.openmmlab.captures.parts import Raw
from kdbench.openmmlab.training.distiller import Teacher
from kdbench.openmmlab.training.hooks import Watch
from kdbench.openmmlab.training.stopping import Stop

Indices = list[int]


class Lanes:
    """What students share that train side by side in one process, on the same images, recipe and seed.

    Args:
        turns: Decides which lane runs.
    """

    def __init__(self, turns: Turns[Any]) -> None:
        self.turns = turns
        self.stop = Stop()
        self.watch = Watch()
        self.teachers: dict[int, SharedTeacher] = {}
        self.training: Shelf | None = None
        self.evaluation: Shelf | None = None

    def training_loader(self, make: Callable[[], DataLoader[Any]]) -> DataLoader[Any]:
        """Return a lane's loader of training batches; ``make`` makes the loader of a run alone."""
        loader = make()
        self.training = self.training or Shelf(loader, endless=True)
        return LaneLoader(loader, self.training, self._wait_for_training)

    def evaluation_loader(self, make: Callable[[], DataLoader[Any]]) -> DataLoader[Any]:
        """Return a lane's loader of the evaluation images."""
        loader = make()
        self.evaluation = self.evaluation or Shelf(loader, endless=False)
        return LaneLoader(loader, self.evaluation, self._wait_for_evaluation)

    def shared(self, teacher: Teacher) -> SharedTeacher:
        """Return the one teacher that replaces this one in all lanes."""
        return self.teachers.setdefault(id(teacher), SharedTeacher(teacher.model, self.batch, teacher.missed))

    def batch(self) -> Any:
        """Return the positions that the running lane trains on; None before its first batch."""
        if self.training is None or self.turns.position == START:
            return None
        return self.training.indices

    def _wait_for_training(self, first: int) -> None:
        self.turns.wait(first, 0, 0)

    def _wait_for_evaluation(self, first: int) -> None:
        """Wait until all lanes have reached the batch that this lane trained on last."""
        trained = self.turns.position[0] if self.turns.position else -1
        self.turns.wait(trained, 1, first)


def make_pack() -> Lanes:
    """Return a pack without lanes."""
    return Lanes(Turns())


class Shelf:
    """Holds the last batch of a loader for all lanes.

    Args:
        loader: The loader of a run alone; its images, collation and workers are used.
        endless: Whether the loader's positions are endless.
    """

    def __init__(self, loader: DataLoader[Any], *, endless: bool) -> None:
        self.loader = loader
        self.indices: Indices | None = None
        self.loads = 0
        """Number of batches that were loaded."""
        self._batch: Any = None
        self._chunks = _Endless(loader.batch_size or 1) if endless else _Batches(loader.batch_sampler)
        self._batches = DataLoader(
            loader.dataset,
            batch_sampler=self._chunks,  # type: ignore[arg-type]
            num_workers=loader.num_workers,
            worker_init_fn=loader.worker_init_fn,
            collate_fn=loader.collate_fn,
            persistent_workers=loader.num_workers > 0,
        )
        self._coming: Iterator[Any] = iter(())
        self._next = -1

    def take(self, indices: Indices) -> Any:
        """Return a copy of a batch, since a lane may change it.

        Args:
            indices: Consecutive positions of its images.
        """
        if indices != self.indices:
            self._batch, self.indices = self._load(indices), indices
        return copy.deepcopy(self._batch)

    def _load(self, indices: Indices) -> Any:
        if indices[0] != self._next:
            self._chunks.first = indices[0]
            self._coming = iter(self._batches)
        self._next = indices[-1] + 1
        self.loads += 1
        return next(self._coming)


class _Endless:
    """Batches of consecutive positions from ``first`` on, without end."""

    def __init__(self, size: int) -> None:
        self.first, self.size = 0, size

    def __iter__(self) -> Iterator[Indices]:
        return (list(range(at, at + self.size)) for at in count(self.first, self.size))


class _Batches:
    """A loader's own batches, from the one that begins at position ``first`` on."""

    def __init__(self, batches: Any) -> None:
        self.first, self.batches = 0, batches

    def __iter__(self) -> Iterator[Indices]:
        return (list(batch) for batch in self.batches if batch[0] >= self.first)


class LaneLoader(DataLoader[Any]):
    """A lane's loader: waits for the lane's turn and takes the batch from the shelf.

    Args:
        loader: The loader of the run alone, whose order it keeps.
        shelf: Holds the batches.
        wait: Waits until the lanes behind have reached the batch that begins at a position.
    """

    def __init__(self, loader: DataLoader[Any], shelf: Shelf, wait: Callable[[int], None]) -> None:
        order: dict[str, Any] = {"batch_size": loader.batch_size, "sampler": loader.sampler}
        if loader.batch_size is None:
            order = {"batch_sampler": loader.batch_sampler}
        super().__init__(shelf.loader.dataset, collate_fn=loader.collate_fn, **order)
        self._shelf, self._wait = shelf, wait

    def __iter__(self) -> Any:
        """Yield the batches, each when it is this lane's turn."""
        for indices in self.batch_sampler:  # type: ignore[union-attr]
            self._wait(indices[0])
            yield self._shelf.take(list(indices))


class SharedTeacher(Teacher):
    """A teacher that runs once on each batch for all lanes; only its heads on a student's RoIs run for each lane.

    Args:
        model: The trained model.
        batch: Returns the positions of the running lane's batch, or None if it is not shared.
        missed: Weights that its checkpoint lacks, and why.
    """

    def __init__(
        self, model: nn.Module, batch: Callable[[], Any], missed: Mapping[str, str] | None = None
    ) -> None:
        super().__init__(model, missed)
        self.batch = batch
        self.runs = 0
        """Number of batches that it ran on."""
        self._seen: Any = None
        self._record: dict[str, Any] = {}
        self._seconds = 0.0

    def observe(self, inputs: Tensor, samples: Any, student: Any, names: frozenset[str]) -> Raw:
        """Run the teacher on a batch for all captures that any of the lanes needs."""
        batch = self.batch()
        self.borrowed = 0.0
        if batch is None:
            return super().observe(inputs, samples, student, names)
        if (batch, self.asked) == self._seen:
            self.borrowed = self._seconds
        else:
            self._see(inputs, samples, student, batch)
        return self._record

    def forget(self) -> None:
        """Let the next lane see the batch again."""
        self._seen = None

    def _see(self, inputs: Tensor, samples: Any, student: Any, batch: Any) -> None:
        begun = _now(inputs) if self.timed else 0.0
        self._record = {}  # the last batch's memory is free for this one's
        self._record = super().observe(inputs, samples, student, self.asked)
        if self.timed:
            self._seconds = _now(inputs) - begun
        self._seen = batch, self.asked
        self.runs += 1


def _now(inputs: Tensor) -> float:
    """Return the time, in s, once the device of the inputs has finished its work."""
    devices.synchronize(inputs.device)
    return time.perf_counter()
