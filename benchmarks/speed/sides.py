"""Sides of a comparison that take turns, round by round, each in its own process, as users would run it.

Separate processes have separate allocators: kdbench's keeps freed memory for the next step, see
:func:`kdbench.openmmlab.process.keep_freed`. Another side is timed without and, if that differs, with this setting.
"""

from __future__ import annotations

import argparse
import gc
import math
import multiprocessing
import signal
import sys
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from multiprocessing.connection import Connection
from typing import Any, Protocol

from measuring import Bench, Done, Times, around, compare, pair_of, tell_gpu, utilisation, without_warm


class Trainer(Protocol):
    """A hand-written training."""

    def step(self, batch: Any) -> float:
        """Run an iteration on a batch, and return the loss."""


@dataclass(frozen=True)
class Side:
    """A side of the comparison.

    Attributes:
        name: Name of the side.
        make: Function that makes its trainer; None for kdbench's own training.
        keeps: Whether its process keeps freed memory, as kdbench's does on a CPU.
    """

    name: str
    make: Callable[[Bench], Trainer] | None
    keeps: bool


@dataclass
class Seen:
    """Measurements of a side: the time of each round, its first loss, and the GPU's utilisation."""

    times: Times
    first_loss: float | None
    shares: list[int]


def against(name: str, make: Callable[[Bench], Trainer], device: str) -> list[Side]:
    """Return kdbench's side, and another training without and with kdbench's setting of the allocator."""
    sides = [Side("kdbench", None, True), Side(name, make, False)]
    return [*sides, Side(f"{name}, keeping freed memory", make, True)] if device == "cpu" else sides


def by_turns(asked: argparse.Namespace, sides: Sequence[Side]) -> dict[str, Seen]:
    """Time the sides on the same batches; the first side of a round is the last in the next one.

    Ctrl-C ends the measurement early; the times so far are returned.
    """
    context = multiprocessing.get_context("spawn")
    pipes, processes = {}, []
    seen = {side.name: Seen(Times(asked.device), None, []) for side in sides}
    for side in sides:
        pipes[side.name], theirs = context.Pipe()
        processes.append(context.Process(target=_run, args=(theirs, asked, side), daemon=True))
        processes[-1].start()
        theirs.close()
    try:
        for round_ in range(asked.warm + asked.rounds):
            for name in sorted(pipes, key=list(pipes).index, reverse=bool(round_ % 2)):
                _round(pipes[name], seen[name])
    except KeyboardInterrupt:
        pass
    except EOFError:
        sys.exit("a side ended before the others: see above")
    finally:
        for process in processes:
            process.kill()
    return seen


def tell(asked: argparse.Namespace, sides: Sequence[Side], seen: dict[str, Seen], limit: float) -> bool:
    """Print the ratios of the first side to the others; return whether that to the second is within the limit."""
    ours, *others = (seen[side.name].times for side in sides)
    without_warm(asked, ours, *others)
    within = [
        compare(f"{asked.pair}, {asked.method}: {sides[0].name} / {side.name}", ours, times, limit)
        for side, times in zip(sides[1:], others, strict=True)
    ]
    tell_gpu(asked, pair_of(asked.pair).schedule.batch_size, ours.wall, seen[sides[0].name].shares)
    return within[0]


def _round(pipe: Connection, seen: Seen) -> None:
    pipe.send(None)
    wall, cpu, loss, shares = pipe.recv()
    seen.times.wall.append(wall)
    seen.times.cpu.append(cpu)
    seen.shares += shares
    seen.first_loss = loss if seen.first_loss is None else seen.first_loss


def _run(pipe: Connection, asked: argparse.Namespace, side: Side) -> None:
    """Run the process of a side."""
    from kdbench.openmmlab import process

    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent handles it
    if not side.keeps:
        process.keep_freed = lambda: None
    bench = Bench(asked)
    bench.teacher.to(next(bench.student.parameters()).device)
    turn = Turn(pipe, asked.device)
    with suppress(EOFError, BrokenPipeError, Done):
        if side.make is None:
            bench.train(turn.hooks())
        else:
            _by_hand(bench, side.make(bench), turn)


def _by_hand(bench: Bench, trainer: Trainer, turn: Turn) -> None:
    gc.disable()
    for batch in bench.loader():
        turn.start()
        turn.stop(trainer.step(batch))


class Turn:
    """A process's end of the pipe: waits for a request, times an iteration and sends the result."""

    def __init__(self, pipe: Connection, device: str) -> None:
        self.pipe, self.times, self.device = pipe, Times(device), device

    def start(self) -> None:
        """Wait for the turn, after collecting garbage."""
        if len(self.times.wall) % 50 == 0:
            gc.collect()
        self.pipe.recv()
        self.times.start()

    def stop(self, loss: float) -> None:
        """Send the times and the loss."""
        self.times.stop()
        self.pipe.send((self.times.wall[-1], self.times.cpu[-1], float(loss), utilisation(self.device)))

    def hooks(self) -> list[Any]:
        """Return hooks that do this around mmengine's whole iteration, except for loading the batch."""

        def stop(outputs: Any) -> None:
            self.stop(float(outputs.get("loss", math.nan)))  # on an accelerator not every step has a loss

        return around(self.start, stop)
